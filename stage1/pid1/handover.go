package pid1

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A lostError is a hand-over that failed when there was no way back.
type lostError struct{ cause error }

func (e *lostError) Error() string { return e.cause.Error() }
func (e *lostError) Unwrap() error { return e.cause }

// handOver switches to the new root and executes stage 2. It returns only
// when that failed. Until init is proven inside the new root nothing is
// killed, moved or deleted; until a prepare program has succeeded nothing is
// deleted, and what was moved is moved back when something fails. A disk of
// the new root that does not answer makes the machine start again.
func (c Config) handOver(s Stage2) error {
	stop := c.reboots(c.Limits.HandOver, "the switch to the new root")
	defer func() { stop() }()
	p, err := prove(c.Exe, s)
	if err != nil {
		return fmt.Errorf("refused to leave the initramfs: %w", err)
	}
	defer p.close()
	c.watchdog.feed()
	killOthers()
	if err := restorePanicSetting(); err != nil {
		c.Say(fmt.Sprintf("kernel.panic stays at %d s: %v", panicRestarts, err))
	}
	sw := &switchover{proof: p, stage2: s}
	if err := sw.enter(); err != nil {
		return c.back(sw, err)
	}
	if s.Prepare != "" {
		stop()
		err := c.prepare(s.Prepare)
		stop = c.reboots(c.Limits.HandOver, "the switch to the new root")
		if err != nil {
			return c.back(sw, err)
		}
		// It may have changed what was proven.
		if err := executable(unix.AT_FDCWD, s.Init); err != nil {
			return c.back(sw, err)
		}
	}
	openConsole(0)
	c.restore()
	// From here on the initramfs is given up: its memory belongs to stage 2.
	if err := sw.giveUp(); err != nil {
		c.Say(fmt.Sprintf("release the initramfs: %v", err))
	}
	unix.Umask(0o022)
	c.watchdog.handOver()
	err = syscall.Exec(s.Init, c.arguments(s), []string{})
	return &lostError{fmt.Errorf("execute %s: %w", s.Init, err)}
}

// back undoes what was done of a hand-over that failed, so that the rescue
// finds the initramfs as it was.
func (c Config) back(sw *switchover, failed error) error {
	gone, err := sw.undo()
	if err != nil {
		return &lostError{errors.Join(failed, err)}
	}
	if len(gone) > 0 {
		mountFirst() // the boot mounts the rest, when it is started again
		c.Say("lost on the way to the new root and back: " + strings.Join(gone, " "))
	}
	return failed
}

// arguments are those of init. systemd takes over state as it does from itself
// after it has switched roots (systemd: src/core/main.c, do_reexecute).
func (c Config) arguments(s Stage2) []string {
	name := s.Name
	if name == "" {
		name = s.Init
	}
	argv := append([]string{name}, s.Args...)
	if s.State == "" {
		return argv
	}
	fd, err := unix.Open(s.State, unix.O_RDONLY, 0) // to be inherited
	if err != nil {
		c.Say(fmt.Sprintf("systemd will not know of the initrd: open %s: %v", s.State, err))
		return argv
	}
	return append(argv, "--switched-root", "--system", fmt.Sprintf("--deserialize=%d", fd))
}
