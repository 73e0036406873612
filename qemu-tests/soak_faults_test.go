package qemutests

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"netstage/qemu-tests/nsmachine"
)

// silence is how long PID 1 waits for a sign of life of the boot.
const silence = 3 * time.Minute

// ready is in the kernel log when the boot leaves the machine to stage 2, whose
// console has to be read.
const ready = "handover (8/8): done"

// injection draws something that is done to a machine under way.
func (d *draw) injection(b *soakBoot) []injection {
	at := d.moment()
	one := func(name string, does func(*played) error) []injection { return []injection{{name, at, does}} }
	switch n := d.IntN(11); {
	case n < 2:
		signal := of(d, syscall.SIGKILL, syscall.SIGSEGV, syscall.SIGABRT, syscall.SIGTERM, syscall.SIGILL)
		b.mayEnd = true
		return one("boot gets "+signal.String(), func(p *played) error { return p.signalChild("boot", signal) })
	case n < 3 && d.chance(8):
		b.mayEnd, b.bound = true, silence+soakBound
		return one("boot stopped for good", func(p *played) error { return p.signalChild("boot", syscall.SIGSTOP) })
	case n < 3:
		pause := d.upTo(3 * time.Second)
		return one("boot stopped for a while", func(p *played) error {
			if err := p.signalChild("boot", syscall.SIGSTOP); err != nil {
				return err
			}
			time.Sleep(pause)
			return p.signalChild("boot", syscall.SIGCONT)
		})
	case n < 4:
		b.mayEnd, b.dies = true, true
		return []injection{
			{"boot gets killed", at, func(p *played) error { return p.signalChild("boot", syscall.SIGKILL) }},
			{"rescue gets killed", moment{"the boot ended", d.upTo(time.Second)}, func(p *played) error { return p.signalChild("rescue", syscall.SIGKILL) }},
		}
	case n < 5:
		signal := of(d, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGPIPE,
			syscall.SIGCHLD, syscall.SIGCONT, syscall.SIGWINCH, syscall.SIGPWR, syscall.SIGTSTP)
		if at.text == "" { // before, it is the kernel alone that could send one
			at.text = "pseudo (1/8)"
		}
		return one("PID 1 gets a signal", func(p *played) error {
			if p.handedOver() {
				return nil // it is stage 2 by now
			}
			return syscall.Kill(p.machine.Pid(), signal)
		})
	case n < 7 && b.lan != nil:
		out := d.upTo(3 * time.Second)
		return one("cable out for a while", func(p *played) error {
			if err := p.lan.TryCable(false); err != nil {
				return err
			}
			time.Sleep(out)
			return p.lan.TryCable(true)
		})
	case n < 8 && b.lan != nil && !b.lan.noDHCP:
		b.mayEnd = true
		return one("DHCP dies", func(p *played) error { p.lan.KillDHCP(); return nil })
	case n < 9:
		keys := of(d, "\x03", "\x1a\x1c\x04", "if\r", "iiii", "r", " ", "c", "dq", "lq", "nq", strings.Repeat("x", 5000), "\xff\x00\x80", "\x1b[A\x1b[B\x1b[99~", "f\rexit\r")
		return one("keys", func(p *played) error { return p.machine.TryType(keys) })
	case n < 10:
		b.mute = true
		how, stopped := of(d, "\x13", ""), d.upTo(3*time.Second)
		if d.chance(2) {
			stopped = soakBound // until stage 2 needs it
		}
		return one("console stopped", func(p *played) error {
			go p.stopConsole(how, stopped)
			return nil
		})
	}
	b.mayEnd = true
	return one("tmpfs full", fill)
}

// stopConsole has the console take no more, by XOFF or as a line that nobody
// reads, for a time or until stage 2 may come.
func (p *played) stopConsole(xoff string, d time.Duration) {
	if xoff == "" {
		p.machine.ReadConsole(false)
	} else {
		p.machine.TryType(xoff)
	}
	p.unless(d, ready)
	p.machine.TryType("\x11")
	p.machine.ReadConsole(true)
}

// unless waits for d, for a text in the kernel log or for the machine's end.
func (p *played) unless(d time.Duration, text string) {
	for end := time.Now().Add(d); time.Now().Before(end) && !strings.Contains(p.machine.Kmsg.String(), text); {
		if p.ended(5 * time.Millisecond) {
			return
		}
	}
}

// handedOver tells whether PID 1 may be stage 2.
func (p *played) handedOver() bool { return strings.Contains(p.machine.Kmsg.String(), ready) }

// signalChild sends a signal to a child of PID 1, where there is one.
func (p *played) signalChild(name string, signal syscall.Signal) error {
	found, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.machine.Pid()))
	if err != nil {
		return err
	}
	for _, file := range found {
		children, _ := os.ReadFile(file)
		for child := range strings.FieldsSeq(string(children)) {
			argv, _ := os.ReadFile("/proc/" + child + "/cmdline")
			var pid int
			if _, err := fmt.Sscan(child, &pid); err != nil {
				return err
			}
			if strings.HasPrefix(string(argv), name+"\x00") {
				syscall.Kill(pid, signal) // or it has ended meanwhile
			}
		}
	}
	return nil
}

// fill fills the initramfs, whose size is bounded.
func fill(p *played) error {
	root := fmt.Sprintf("/proc/%d/root", p.machine.Pid())
	var at syscall.Statfs_t
	if err := syscall.Statfs(root, &at); err != nil || p.handedOver() || at.Blocks*uint64(at.Bsize) > 1<<30 {
		return nil // another root by now, or the host's
	}
	file, err := os.OpenFile(root+"/filler", os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil
	}
	defer file.Close()
	io.CopyN(file, zeros{}, 1<<30) // until it is full
	return nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// screen is what a failure looks like on the console.
var screen = regexp.MustCompile(`=== boot failed: ([a-z0-9-]+)`)

// judge compares a machine's end with what has to hold of every one, and
// returns the class of its failure.
func (b soakBoot) judge(t *testing.T, p *played, end nsmachine.End) (class string) {
	console, kmsg := p.console(), p.machine.Kmsg.String()
	if found := screen.FindAllStringSubmatch(console, -1); found != nil {
		class = found[len(found)-1][1]
	}
	for _, never := range []string{"leaves it", "unverified: ", "Kernel panic"} {
		if strings.Contains(console, never) {
			t.Errorf("%q is on the console", never)
		}
	}
	switch end {
	case nsmachine.PoweredOff:
		if !strings.Contains(console, "digest: "+b.sha256+"  -\n") && !strings.Contains(console, "digest: "+b.sha256+"  -\r\n") || !strings.Contains(console, "stage 2 done") {
			t.Errorf("stage 2 was not reached with the digest %s", b.sha256)
		}
		return ""
	case nsmachine.Rebooted:
		rescued := b.dies && strings.Contains(kmsg, "the rescue ended too")
		if !b.mute && !rescued && (class == "" || !strings.Contains(console, "What to do:")) {
			t.Error("rebooted without a screen")
		}
		if !b.mayEnd {
			t.Errorf("rebooted (%s), though all its faults were passing ones", class)
		}
		return class
	}
	t.Errorf("the machine %s", end)
	return class
}

// leftovers are what boots might leave on this host: network namespaces, loop
// devices, mounts, children.
func leftovers(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	own := fmt.Sprintf("/run/netns/ns%d-", os.Getpid())
	netns, _ := filepath.Glob(own + "*")
	for _, name := range netns {
		found[name] = true
	}
	loops, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, name := range loops {
		file, _ := os.ReadFile(name)
		// Not one that a test of another process made for itself.
		if len(file) > 0 && !strings.HasPrefix(string(file), hostTemp) {
			use, _ := os.ReadFile(filepath.Dir(name) + "/../diskseq")
			found[fmt.Sprintf("%s: %q, use %q of a loop device", name, file, use)] = true
		}
	}
	for line := range strings.Lines(string(read(t, "/proc/self/mountinfo"))) {
		others := strings.Contains(line, " /run/netns/") && !strings.Contains(line, own) ||
			strings.Contains(line, " "+hostTemp+"/") && !strings.Contains(line, "/TestSoak")
		if !others {
			found["mount "+line] = true
		}
	}
	children, _ := filepath.Glob("/proc/self/task/*/children")
	for _, file := range children {
		text, _ := os.ReadFile(file)
		for pid := range strings.FieldsSeq(string(text)) {
			found["process "+pid] = true
		}
	}
	return found
}

// expectNoLeftovers waits until all is gone that was not there before. What
// comes and goes belongs to other tests of this host.
func expectNoLeftovers(t *testing.T, before map[string]bool) {
	t.Helper()
	left := leftovers(t)
	for range 180 { // a machine of another test may boot for as long
		now := leftovers(t)
		for name := range left {
			if before[name] || !now[name] {
				delete(left, name)
			}
		}
		if len(left) == 0 {
			return
		}
		time.Sleep(time.Second)
	}
	for name := range left {
		t.Errorf("left on this host: %s", name)
	}
}
