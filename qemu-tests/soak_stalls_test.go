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
	at := moment{of(d, "pseudo (1/8)", "modules (3/8)", "devices (4/8)", "image (6/8)", "root (7/8)", "handover (8/8)"), d.upTo(800 * time.Millisecond)}
	b.faults = []injection{{"disk stalls", at, throttles(device, 1)}}
	if d.chance(3) {
		b.faults = append(b.faults, injection{"disk answers", moment{at.text, d.upTo(40 * time.Second)}, throttles(device, 0)})
	}
	if d.chance(3) {
		b.faults = append(b.faults, injection{"XOFF", moment{at.text, d.upTo(time.Second)}, func(p *played) error { return p.box.(inQEMU).Send(xoff) }})
	}
	if d.chance(4) {
		b.faults = append(b.faults, injection{"machine stopped", moment{at.text, d.upTo(time.Second)}, tells("stop", nil)},
			injection{"machine goes on", moment{at.text, d.upTo(5 * time.Second)}, tells("cont", nil)})
	}
	return b
}

// tells is a command of QEMU's for a machine that may have ended.
func tells(command string, arguments any) func(*played) error {
	return func(p *played) error {
		m := p.box.(inQEMU)
		_, err := m.QMP(m.ctx, command, arguments)
		return err
	}
}

// throttles lets a disk read and write so many bytes a second; 0: as many as it
// can.
func throttles(device string, bytes int) func(*played) error {
	return tells("block_set_io_throttle", map[string]any{"id": device, "bps": bytes, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0})
}

// Machines of QEMU whose disk stops answering, at moments and for times drawn
// at random, end as those of TestSoak do: in stage 2, whoever needs the disk or
// not, and with a screen where it is needed. SOAK_STALLS= says how many.
func TestQEMUSoakOfStalls(t *testing.T) {
	t.Parallel()
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
	over := make(chan struct{})
	var end vm.End
	go func() {
		defer close(over)
		end, _ = m.Wait(m.ctx) // an error is that it did not end
	}()
	defer func() { m.Close(); <-over }()
	shown := func(text string) bool { return strings.Contains(m.Console(), text) }
	ended := func(within time.Duration) bool {
		select {
		case <-over:
			return true
		case <-time.After(within):
			return false
		}
	}
	for _, f := range b.faults {
		for !shown(f.at.text) && !ended(20*time.Millisecond) {
		}
		if ended(f.at.after) {
			break
		}
		if err := f.does(p); err != nil && !ended(10*time.Second) {
			t.Errorf("%s: %v", f.name, err)
		}
	}
	// Stage 2 switches itself off by way of a sync, which is its own affair.
	began, gone := time.Now(), false
	for !gone && !shown("stage 2 done") {
		gone = ended(50 * time.Millisecond)
	}
	if took := time.Since(began); took > stallBound {
		t.Errorf("it took %v", took)
	}
	console := m.Console()
	class := screen.FindString(console)
	t.Logf("over after %v, %s", time.Since(began).Round(time.Second), class)
	switch {
	case strings.Contains(console, "digest: "+b.vouched.sha256+"  -\n") && strings.Contains(console, "stage 2 done"):
	case gone && end == vm.Reset && b.mayEnd && class != "" && !strings.Contains(console, "stage 2: "):
	default:
		t.Errorf("the machine has ended: %v, with %q", gone, class)
	}
}
