package pid1

import (
	"fmt"
	"syscall"
	"time"
)

// tellEvery is how often a wait is told of.
const tellEvery = 15 * time.Second

// prepare runs a NixOS prepare-root inside the new root and waits for it
// (nixpkgs: nixos/modules/system/boot/systemd/initrd.nix).
func (c Config) prepare(program string) error {
	openConsole(0) // one that blocks, as programs expect
	pid, err := syscall.ForkExec(program, []string{program}, &syscall.ProcAttr{
		Dir:   "/",
		Env:   []string{"IN_NIXOS_SYSTEMD_STAGE1=true"},
		Files: []uintptr{0, 1, 2},
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", program, err)
	}
	status, err := c.await(program, pid, c.Limits.Prepare)
	if err != nil {
		return err
	}
	if !status.Exited() || status.ExitStatus() != 0 {
		return fmt.Errorf("%s failed (%s)", program, describe(status))
	}
	return nil
}

// await waits for a program that is not this one, and says so. One that takes
// too long is killed, and left alone when it can't be. The watchdog is fed.
func (c Config) await(name string, pid int, limit time.Duration) (syscall.WaitStatus, error) {
	ch := &child{pid: pid, name: name, ended: openPID(pid), verdict: -1, heartbeats: -1}
	defer ch.close()
	waited, told, killed := time.Duration(0), time.Duration(0), false
	for {
		if status, ok := collect(pid); ok && !killed {
			return status, nil
		} else if ok || waited >= limit+c.Limits.Grace {
			return 0, fmt.Errorf("%s did not end in %v", name, limit)
		}
		_, more := c.listen(ch)
		c.watchdog.feed()
		if waited += more; waited >= limit && !killed {
			killed = true
			syscall.Kill(pid, syscall.SIGKILL)
		}
		if waited-told >= tellEvery {
			told = waited
			c.Say(fmt.Sprintf("waiting for %s: %v of at most %v", name, waited.Round(time.Second), limit))
		}
	}
}

func describe(status syscall.WaitStatus) string {
	if status.Signaled() {
		return "signal " + status.Signal().String()
	}
	return fmt.Sprintf("exit status %d", status.ExitStatus())
}
