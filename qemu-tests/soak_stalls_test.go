package qemutests

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"netstage/cmd/netstage/vm"
)

// What is done to machines of QEMU, whose disks can stop answering.

// stallBound is within what time such a machine has to have ended once it has
// booted that far: what it waits for a sick disk at the most, on a busy host.
const stallBound = 6 * time.Minute

// A stalledBoot is a machine with a disk that stops answering, and how it may
// end.
type stalledBoot struct {
	scenario
	name   string
	faults []injection
	mayEnd bool // with a reboot: the disk is needed
}

// stalled draws one: what the disk is for, and when it stops, and whether it
// answers again.
func (d *draw) stalled(t *testing.T) stalledBoot {
	const device = "/machine/peripheral/sickdev/virtio-backend"
	label := fmt.Sprintf("soak%d", d.IntN(1e6))
	b := stalledBoot{scenario: scenario{
		kernel: xzModules, qemu: sick(t, ext4(t, label, t.TempDir())), modules: []string{"virtio_net", "+virtio_blk", "+ext4"},
		copies: inInitrd, cmdline: "boot.fail_timeout=1 init={init} rootfs.sha256={sha256}" + of(d, "", " loglevel=4", " boot.trace"),
	}}
	v := vouchOnce(t, sworn("digest"))
	b.vouched = &v
	entry := func(options string) {
		b.files = map[string]string{"/etc/netstage/fstab": "LABEL=" + label + " /data ext4 x-systemd.mount-timeout=20s," + options + " 0 0\n"}
	}
	switch d.IntN(4) {
	case 0:
		b.name = "a disk that nobody needs"
	case 1, 2:
		b.name = "a disk that may fail"
		entry("nofail")
	case 3:
		b.name, b.mayEnd = "a disk that is needed", true
		entry("x-systemd.device-timeout=20s")
	}
	at := moment{of(d, "pseudo (1/8)", "modules (3/8)", "devices (4/8)", "image (6/8)", "root (7/8)", "handover (8/8)"), d.upTo(2 * time.Second)}
	b.faults = []injection{{"disk stalls", at, stepOf(stalls(device))}}
	if d.chance(3) {
		b.faults = append(b.faults, injection{"disk answers", moment{at.text, d.upTo(40 * time.Second)}, stepOf(answers(device))})
	}
	if d.chance(3) {
		b.faults = append(b.faults, injection{"XOFF", moment{at.text, d.upTo(time.Second)}, stepOf(types(xoff))})
	}
	if d.chance(4) {
		b.faults = append(b.faults, injection{"machine stopped", moment{at.text, d.upTo(time.Second)}, stepOf(qmp("stop", nil))},
			injection{"machine goes on", moment{at.text, d.upTo(5 * time.Second)}, stepOf(qmp("cont", nil))})
	}
	return b
}

func stepOf(s step) func(*played) error {
	return func(p *played) error { s(p); return nil }
}

// Machines of QEMU whose disk stops answering, at moments and for times drawn at
// random, end as those of TestSoak do: in stage 2, whoever needs the disk or
// not, and with a screen where it is needed. SOAK_STALLS= says how many.
func TestQEMUSoakOfStalls(t *testing.T) {
	count := 1
	if text := os.Getenv("SOAK_STALLS"); text != "" {
		var err error
		if count, err = strconv.Atoi(text); err != nil {
			t.Fatalf("SOAK_STALLS=%s is no number of machines", text)
		}
	}
	s, err := soakOf(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	for n := range uint64(count) {
		n += s.first
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			d := &draw{Rand: rand.New(rand.NewPCG(s.seed, n))}
			b := d.stalled(t)
			names := []string{b.name}
			for _, f := range b.faults {
				names = append(names, fmt.Sprintf("%s, %s after %q", f.name, f.at.after, f.at.text))
			}
			t.Logf("%s", strings.Join(names, "; "))
			b.suffer(t)
		})
	}
}

// suffer boots the machine and does to it what was drawn.
func (b stalledBoot) suffer(t *testing.T) {
	p := b.start(t)
	m := p.box.(inQEMU)
	for _, f := range b.faults {
		for !strings.Contains(m.Console(), f.at.text) && !strings.Contains(m.Console(), "stage 2: ") && m.ctx.Err() == nil {
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(f.at.after)
		if err := f.does(p); err != nil {
			t.Error(err)
		}
	}
	began := time.Now()
	over := make(chan vm.End, 1)
	go func() {
		end, _ := m.Wait(m.ctx) // an error is that it did not end
		over <- end
	}()
	// Stage 2 switches itself off by way of a sync, which is its own affair.
	end, ended := vm.End(""), false
	for !ended && !strings.Contains(m.Console(), "stage 2 done") {
		select {
		case end = <-over:
			ended = true
		case <-time.After(50 * time.Millisecond):
		}
	}
	if !ended {
		defer func() { m.Close(); <-over }()
	}
	if took := time.Since(began); took > stallBound {
		t.Errorf("it took %v", took)
	}
	console := m.Console()
	class := screen.FindString(console)
	t.Logf("%s %s after %v", end, class, time.Since(began).Round(time.Second))
	switch {
	case strings.Contains(console, "digest: "+b.vouched.sha256+"  -\n") && strings.Contains(console, "stage 2 done"):
	case end == vm.Reset && b.mayEnd && class != "" && !strings.Contains(console, "stage 2: "):
	default:
		t.Errorf("the machine ended by %q, with %q", end, class)
	}
}
