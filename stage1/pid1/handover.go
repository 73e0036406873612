package pid1

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// handOver switches to the new root and executes stage 2. It returns only
// when that failed. Until init is proven inside the new root nothing is
// killed, moved or deleted; until a prepare program has succeeded nothing is
// deleted.
func (c Config) handOver(s Stage2) error {
	old, err := prove(c.Exe, s)
	if err != nil {
		return fmt.Errorf("refused to leave the initramfs: %w", err)
	}
	defer unix.Close(old)
	c.dog.feed()
	killOthers()
	if err := moveMounts(s); err != nil {
		return err
	}
	detached, err := enter(s.Root)
	if err != nil {
		return err
	}
	if s.Prepare != "" {
		if err := c.prepare(s.Prepare); err != nil {
			if back := leave(old, detached, s); back != nil {
				c.Say(back.Error())
			}
			return err
		}
	}
	openConsole()
	// From here on the initramfs is given up: its memory belongs to stage 2.
	if detached {
		unix.Fchdir(old)
		if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
			c.Say(fmt.Sprintf("release the initramfs: %v", err))
		}
		unix.Chdir("/")
	} else if err := empty(old); err != nil {
		c.Say(fmt.Sprintf("empty the initramfs: %v", err))
	}
	unix.Umask(0o022)
	c.dog.handOver()
	err = syscall.Exec(s.Init, c.arguments(s), []string{})
	return fmt.Errorf("execute %s: %w", s.Init, err)
}

// arguments are those of init. systemd takes over state as it does from itself
// after it has switched roots (systemd: src/core/main.c, do_reexecute).
func (c Config) arguments(s Stage2) []string {
	argv := []string{s.Init}
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

// moveMounts takes the mounts of s.Move along to the same paths below the new
// root.
func moveMounts(s Stage2) error {
	for _, from := range s.Move {
		to := filepath.Join(s.Root, from)
		if err := os.MkdirAll(to, 0o755); err != nil {
			return fmt.Errorf("make %s for %s: %w", to, from, err)
		}
		if err := unix.Mount(from, to, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s to %s: %w", from, to, err)
		}
	}
	return nil
}

// enter makes root the root of this process and tells whether the old one can
// be unmounted. A tmpfs root can be pivoted away; the kernel's own rootfs
// can't (pivot_root(2)), the new root is moved over it instead.
func enter(root string) (detached bool, err error) {
	if err := unix.Chdir(root); err != nil {
		return false, fmt.Errorf("enter %s: %w", root, err)
	}
	if unix.PivotRoot(".", ".") == nil {
		// The old root lies over the new one now; the caller unmounts it.
		return true, nil
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return false, fmt.Errorf("move %s to /: %w", root, err)
	}
	if err := unix.Chroot("."); err != nil {
		return false, fmt.Errorf("chroot to %s: %w", root, err)
	}
	return false, unix.Chdir("/")
}

// leave undoes enter and moveMounts, so that the rescue finds the initramfs
// as it was.
func leave(old int, detached bool, s Stage2) error {
	if err := unix.Fchdir(old); err != nil {
		return fmt.Errorf("return to the initramfs: %w", err)
	}
	back := func() error { return unix.MoveMount(unix.AT_FDCWD, "/", old, s.Root[1:], 0) }
	if detached {
		back = func() error { return unix.PivotRoot(".", s.Root[1:]) }
	}
	if err := back(); err != nil {
		return fmt.Errorf("move the new root back to %s: %w", s.Root, err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("return to the initramfs: %w", err)
	}
	for _, name := range s.Move {
		if err := unix.Mount(filepath.Join(s.Root, name), name, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s back: %w", name, err)
		}
	}
	return unix.Chdir("/")
}

// prepare runs a NixOS prepare-root inside the new root and waits for it
// (nixpkgs: nixos/modules/system/boot/systemd/initrd.nix).
func (c Config) prepare(program string) error {
	pid, err := syscall.ForkExec(program, []string{program}, &syscall.ProcAttr{
		Dir:   "/",
		Env:   []string{"IN_NIXOS_SYSTEMD_STAGE1=true"},
		Files: []uintptr{0, 1, 2},
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", program, err)
	}
	if status := c.reapUntil(pid, -1); !status.Exited() || status.ExitStatus() != 0 {
		return fmt.Errorf("%s failed (%s)", program, describe(status))
	}
	return nil
}

func describe(status syscall.WaitStatus) string {
	if status.Signaled() {
		return "signal " + status.Signal().String()
	}
	return fmt.Sprintf("exit status %d", status.ExitStatus())
}
