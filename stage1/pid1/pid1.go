// Package pid1 is the first process of the machine: it runs the boot as a
// child, reaps what is orphaned, and acts on the child's verdict. It does as
// little as it can, because nobody watches over it: a child may panic, hang,
// be killed or run out of memory, PID 1 may not. Each of its states has a
// limit, after which it goes on without whoever it waited for; the last resort
// of each is the reboot.
package pid1

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"netstage/stage1/fault"
)

// Config is what PID 1 has to know.
type Config struct {
	Exe    string        // this binary, to be started as "boot" and "rescue"
	Say    func(string)  // one line for the operator; must not fail, nor block
	Lost   time.Duration // how long a message stays before a reboot that nobody asked for
	Limits Limits

	// NoFlowControl takes flow control off the consoles, so that nothing on the
	// other side of a line can stop the boot. The function it returns puts it
	// back for stage 2. It is called again and again. Nil: there is nothing to
	// do.
	NoFlowControl func() (restore func())

	watchdog *watchdog
	restore  func() // the consoles
}

// Limits say how long PID 1 waits. A zero is the default.
type Limits struct {
	Silence  time.Duration // for a sign of life of its child
	Grace    time.Duration // for the end of a child that left its verdict, or was killed
	HandOver time.Duration // for the switch to the new root
	Prepare  time.Duration // for the prepare-root of stage 2, inside it
}

func (l Limits) orDefaults() Limits {
	for _, d := range []struct {
		limit     *time.Duration
		otherwise time.Duration
	}{
		// The boot itself tells of a step that hangs after two and a half
		// minutes.
		{&l.Silence, 3 * time.Minute}, {&l.Grace, 5 * time.Second},
		{&l.HandOver, time.Minute},
		// NixOS's activates the system, from a disk that may be slow.
		{&l.Prepare, 10 * time.Minute},
	} {
		if *d.limit == 0 {
			*d.limit = d.otherwise
		}
	}
	return l
}

// Run runs the boot until stage 2 takes over this process. It does not
// return.
func Run(config Config) {
	// Caught and dropped: by default Go ends a program at SIGTERM and its
	// like. Ignoring them instead would be inherited by stage 2.
	signal.Notify(make(chan os.Signal, 1))
	config.Limits = config.Limits.orDefaults()
	config.watchdog = &watchdog{say: config.Say}
	config.restore = func() {}
	mountFirst()
	rebootAfterPanic()
	for {
		config.act(config.boot())
	}
}

// boot runs the boot once, and its rescue where it comes to that. Its verdict
// is none to hand over: that succeeds, or ends in the rescue.
func (c Config) boot() Verdict {
	verdict, crash := c.child([]string{"boot"}, nil)
	if crash != nil {
		verdict = c.rescue(*crash)
	}
	for verdict.Action == HandOver {
		if verdict.Stage2 == nil {
			verdict = c.rescue(Crash{fault.Handover, "the boot asked for a hand-over and named no stage 2"})
			continue
		}
		err := c.handOver(*verdict.Stage2)
		crash := Crash{fault.Handover, err.Error()}
		var lost *lostError
		if errors.As(err, &lost) {
			crash.Class = fault.Exec
			return c.lastRescue(crash, verdict.Rescue)
		}
		verdict = c.rescue(crash)
	}
	return verdict
}

// act carries out every verdict but HandOver. It returns for Retry only.
func (c Config) act(v Verdict) {
	switch v.Action {
	case Retry:
		c.Say("starting the boot again")
	case Shell:
		c.Say("PID 1 becomes a shell; leaving it reboots")
		c.watchdog.stop() // nobody feeds it there
		err := c.becomeShell(v.Console)
		c.Say(fmt.Sprintf("start the shell: %v", err))
	case PowerOff:
		Power(unix.LINUX_REBOOT_CMD_POWER_OFF)
	case Panic:
		// The kernel's own words are only that init was killed.
		c.Say("boot.panic_on_fail: " + v.Reason)
		within(syncLimit, unix.Sync)
		os.Exit(1)
	case Reboot:
		Power(unix.LINUX_REBOOT_CMD_RESTART)
	default:
		c.Say(fmt.Sprintf("unknown verdict %q", v.Action))
		c.lost()
	}
}

// rescue shows the failure ladder for a boot that ended without a verdict. A
// rescue that ends without one, too, leaves only the reboot.
func (c Config) rescue(crash Crash) Verdict {
	c.Say(fmt.Sprintf("the boot ended (%s): %s", crash.Class, crash.Detail))
	verdict, again := c.child([]string{"rescue", string(crash.Class), crash.Detail}, nil)
	if again == nil && verdict.Action != HandOver {
		return verdict
	}
	if again != nil {
		c.Say(fmt.Sprintf("the rescue ended too (%s): %s", again.Class, again.Detail))
	}
	c.lost()
	return Verdict{Action: Reboot}
}

// LastRescue is the third argument of a rescue that has descriptor 5.
const LastRescue = "last"

// lastRescue is that of a machine whose initramfs is gone, and with it the
// policy: a screen, and then the machine starts again, whatever the rescue
// says.
func (c Config) lastRescue(crash Crash, knows []byte) Verdict {
	c.Say(fmt.Sprintf("the boot ended (%s): %s", crash.Class, crash.Detail))
	memory, err := sealed(knows)
	if err != nil {
		c.Say(fmt.Sprintf("hold what the rescue has to know: %v", err))
		c.lost()
	}
	defer unix.Close(memory)
	verdict, again := c.child([]string{"rescue", string(crash.Class), crash.Detail, LastRescue}, &memory)
	if again != nil {
		c.Say(fmt.Sprintf("the rescue ended too (%s): %s", again.Class, again.Detail))
		c.lost()
	}
	if verdict.Action != PowerOff && verdict.Action != Panic {
		verdict.Action = Reboot
	}
	return verdict
}

// lost leaves time to read the console, then reboots.
func (c Config) lost() {
	c.Say(fmt.Sprintf("rebooting in %v", c.Lost))
	time.Sleep(c.Lost)
	Power(unix.LINUX_REBOOT_CMD_RESTART)
}
