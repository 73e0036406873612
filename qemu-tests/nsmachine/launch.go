package nsmachine

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// launchEnv marks the process that becomes PID 1 of a machine. It holds the
// plan as JSON.
const launchEnv = "NETSTAGE_NSMACHINE"

// Began is the first line of a machine's kernel log, as the kernel writes it.
const Began = "Run /init as init process"

// plan is what the launcher has to build.
type plan struct {
	Files   map[string]string // path in the initramfs → file or directory here
	Cmdline string
	Console string // pty that is /dev/console and /dev/ttyS0
	Kmsg    string // pty that is /dev/kmsg

	Watchdog string // pipe that is /dev/watchdog, unless empty
	Env      []string
	Size     string // of the root
}

// Launch turns this process into a machine when it was started as one; else
// it returns. Call it first thing in TestMain.
func Launch() {
	text, ok := os.LookupEnv(launchEnv)
	if !ok {
		return
	}
	// A signal that is for the machine's PID 1 does not end what becomes it.
	signal.Notify(make(chan os.Signal, 1))
	err := launch(text)
	fmt.Fprintln(os.Stderr, "nsmachine:", err)
	os.Exit(70)
}

// launch builds the root of a machine and executes its /init. It runs as
// PID 1 of new namespaces.
func launch(text string) error {
	var p plan
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return err
	}
	// The parent puts the NICs in, then closes the pipe.
	if _, err := io.Copy(io.Discard, os.NewFile(3, "ready")); err != nil {
		return err
	}
	unix.Close(3)
	root, err := os.MkdirTemp("", "nsmachine-")
	if err != nil {
		return err
	}
	options := "mode=755,huge=never"
	if p.Size != "" {
		options += ",size=" + p.Size
	}
	steps := []func() error{
		func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") },
		func() error { return unix.Mount("rootfs", root, "tmpfs", 0, options) },
		func() error { return p.copyFiles(root) },
		func() error { return p.devices(filepath.Join(root, "dev")) },
		func() error { return p.proc(filepath.Join(root, "proc")) },
		func() error { return hideFirmware(root) },
		func() error { return unix.Chdir(root) },
		func() error { return unix.PivotRoot(".", ".") },
		func() error { return unix.Unmount(".", unix.MNT_DETACH) },
		func() error { return unix.Chdir("/") },
		func() error { return unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) },
		// The clock has no namespace: it is the host's.
		func() error { return unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_SYS_TIME, 0, 0, 0) },
		began,
		func() error { return syscall.Exec("/init", []string{"/init"}, p.Env) },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return nil
}

// began writes the kernel log's first line. Its terminal must not become init's.
func began() error {
	log, err := os.OpenFile("/dev/kmsg", os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer log.Close()
	_, err = log.WriteString(Began + "\n")
	return err
}

func (p plan) copyFiles(root string) error {
	for to, from := range p.Files {
		if err := copyTree(from, filepath.Join(root, to)); err != nil {
			return err
		}
	}
	return nil
}

func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(name, from))
		info, err := entry.Info()
		if err != nil {
			return err
		}
		switch {
		case entry.IsDir():
			return os.MkdirAll(target, info.Mode().Perm())
		case entry.Type()&fs.ModeSymlink != 0:
			link, err := os.Readlink(name)
			if err != nil {
				return err
			}
			return os.Symlink(link, target)
		}
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		in, err := os.Open(name)
		if err != nil {
			return err
		}
		defer in.Close()
		out, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY, info.Mode().Perm())
		if err != nil {
			return err
		}
		if _, err := io.Copy(out, in); err != nil {
			return err
		}
		return out.Close()
	})
}

// devices makes a /dev of its own: the host's devtmpfs has the host's
// consoles.
func (p plan) devices(dev string) error {
	if err := os.MkdirAll(dev, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("dev", dev, "tmpfs", unix.MS_NOSUID, "mode=755"); err != nil {
		return err
	}
	nodes := map[string][2]uint32{
		"null": {1, 3}, "zero": {1, 5}, "full": {1, 7}, "random": {1, 8}, "urandom": {1, 9}, "tty": {5, 0}, "ptmx": {5, 2},
	}
	for name, number := range nodes {
		if err := node(filepath.Join(dev, name), unix.S_IFCHR|0o666, number); err != nil {
			return err
		}
	}
	if err := node(filepath.Join(dev, "loop-control"), unix.S_IFCHR|0o600, [2]uint32{10, 237}); err != nil {
		return err
	}
	for n := range uint32(128) {
		if err := node(filepath.Join(dev, fmt.Sprintf("loop%d", n)), unix.S_IFBLK|0o600, [2]uint32{7, n}); err != nil {
			return err
		}
	}
	for name, file := range map[string]string{"console": p.Console, "ttyS0": p.Console, "kmsg": p.Kmsg, "watchdog": p.Watchdog} {
		if file == "" {
			continue
		}
		if err := bind(file, filepath.Join(dev, name)); err != nil {
			return err
		}
	}
	return nil
}

func node(name string, mode uint32, number [2]uint32) error {
	if err := unix.Mknod(name, mode, int(unix.Mkdev(number[0], number[1]))); err != nil {
		return fmt.Errorf("make %s: %w", name, err)
	}
	return os.Chmod(name, os.FileMode(mode&0o777))
}

// proc mounts /proc with what belongs to the machine and not to its host: a
// machine under test must not change the host's settings.
func (p plan) proc(proc string) error {
	if err := os.MkdirAll(proc, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("proc", proc, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return err
	}
	own := filepath.Join(filepath.Dir(proc), ".proc")
	for name, text := range map[string]string{
		"cmdline":                   p.Cmdline + "\n",
		"consoles":                  "ttyS0                -W- (EC p a)    4:64\n",
		"sysrq-trigger":             "",
		"sys/kernel/panic":          "0\n",
		"sys/kernel/modprobe":       "/sbin/modprobe\n",
		"sys/kernel/printk":         "1\t4\t1\t7\n", // the host's kernel prints nothing on our console
		"sys/kernel/printk_devkmsg": "on\n",
	} {
		if _, err := os.Stat(filepath.Join(proc, name)); err != nil {
			continue // a kernel without it has nothing to protect
		}
		file := filepath.Join(own, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
		if err := bind(file, filepath.Join(proc, name)); err != nil {
			return err
		}
	}
	return nil
}

// hideFirmware keeps a machine under test from the variables of its host's
// firmware: one that fails would write there. Where there are none the machine
// mounts its own /sys.
func hideFirmware(root string) error {
	if _, err := os.Stat("/sys/firmware/efi"); err != nil {
		return nil
	}
	sys := filepath.Join(root, "sys")
	if err := os.MkdirAll(sys, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("sysfs", sys, "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return err
	}
	return unix.Mount("none", filepath.Join(sys, "firmware"), "tmpfs", unix.MS_RDONLY, "")
}

// bind shows from at to, a file that is made where it is missing.
func bind(from, to string) error {
	file, err := os.OpenFile(to, os.O_CREATE|os.O_RDONLY, 0o600)
	if err == nil {
		file.Close()
	}
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s to %s: %w", from, to, err)
	}
	return nil
}
