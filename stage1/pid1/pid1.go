// Package pid1 is the first process of the machine: it runs the boot as a
// child, reaps what is orphaned, and acts on the child's verdict. It has one
// goroutine and does as little as it can, because nobody watches over it: a
// child may panic, hang up, be killed or run out of memory, PID 1 may not.
package pid1

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// Config is what PID 1 has to know.
type Config struct {
	Exe  string        // this binary, to be started as "boot" and "rescue"
	Say  func(string)  // one line for the operator; must not fail
	Lost time.Duration // how long a message stays before a reboot that nobody asked for

	dog *watchdog
}

// Run runs the boot until stage 2 takes over this process. It does not
// return.
func Run(config Config) {
	// Caught and dropped: by default Go ends a program at SIGTERM and its
	// like. Ignoring them instead would be inherited by stage 2.
	signal.Notify(make(chan os.Signal, 1))
	config.dog = &watchdog{say: config.Say}
	boot := []string{"boot"}
	for {
		verdict, crash := config.child(boot)
		if crash != nil {
			verdict = config.rescue(*crash)
		}
		for verdict.Action == HandOver {
			if verdict.Stage2 == nil {
				verdict = config.rescue(Crash{"handover", "the boot asked for a hand-over and named no stage 2"})
				continue
			}
			err := config.handOver(*verdict.Stage2)
			verdict = config.rescue(Crash{"handover", err.Error()})
		}
		config.act(verdict)
	}
}

// act carries out every verdict but HandOver. It returns for Retry only.
func (c Config) act(v Verdict) {
	switch v.Action {
	case Retry:
		c.Say("starting the boot again")
	case Shell:
		c.Say("PID 1 becomes a shell; leaving it reboots")
		c.dog.stop() // nobody feeds it there
		err := c.becomeShell(v.Console)
		c.Say(fmt.Sprintf("start the shell: %v", err))
	case PowerOff:
		Power(unix.LINUX_REBOOT_CMD_POWER_OFF)
	case Panic:
		// The kernel's own words are only that init was killed.
		c.Say("boot.panic_on_fail: " + v.Reason)
		unix.Sync()
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
	verdict, again := c.child([]string{"rescue", crash.Class, crash.Detail})
	if again == nil && verdict.Action != HandOver {
		return verdict
	}
	if again != nil {
		c.Say(fmt.Sprintf("the rescue ended too (%s): %s", again.Class, again.Detail))
	}
	c.lost()
	return Verdict{Action: Reboot}
}

// lost leaves time to read the console, then reboots.
func (c Config) lost() {
	c.Say(fmt.Sprintf("rebooting in %v", c.Lost))
	time.Sleep(c.Lost)
	Power(unix.LINUX_REBOOT_CMD_RESTART)
}

// child runs this binary under the name argv[0] and returns its verdict, or
// how it ended without one.
func (c Config) child(argv []string) (Verdict, *Crash) {
	verdict, crash := c.verdict(argv)
	if crash != nil {
		// Above all its shell, which would take the operator's keys.
		killOthers()
	}
	return verdict, crash
}

func (c Config) verdict(argv []string) (Verdict, *Crash) {
	var verdict Verdict
	pipe, status, err := c.run(argv)
	if err != nil {
		return verdict, &Crash{"exec", fmt.Sprintf("start %s as %s: %v", c.Exe, argv[0], err)}
	}
	switch {
	case status.Signaled():
		return verdict, &Crash{"killed", fmt.Sprintf("%s was killed by signal %d (%s)", argv[0], status.Signal(), status.Signal())}
	case status.ExitStatus() == 2:
		// How the Go runtime ends a program that panics.
		return verdict, &Crash{"panic", argv[0] + " panicked; its trace is on the console"}
	case status.ExitStatus() != 0:
		return verdict, &Crash{"killed", fmt.Sprintf("%s exited with status %d", argv[0], status.ExitStatus())}
	}
	if err := json.Unmarshal(pipe, &verdict); err != nil {
		return verdict, &Crash{"killed", fmt.Sprintf("%s left no verdict: %v", argv[0], err)}
	}
	return verdict, nil
}
