package applets

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// mountFlags are the options that are bits of mount(2).
func mountFlag(name string) (set, clear uintptr, ok bool) {
	switch name {
	case "ro":
		return unix.MS_RDONLY, 0, true
	case "rw":
		return 0, unix.MS_RDONLY, true
	case "nosuid":
		return unix.MS_NOSUID, 0, true
	case "suid":
		return 0, unix.MS_NOSUID, true
	case "nodev":
		return unix.MS_NODEV, 0, true
	case "dev":
		return 0, unix.MS_NODEV, true
	case "noexec":
		return unix.MS_NOEXEC, 0, true
	case "exec":
		return 0, unix.MS_NOEXEC, true
	case "noatime":
		return unix.MS_NOATIME, 0, true
	case "relatime":
		return unix.MS_RELATIME, 0, true
	case "strictatime":
		return unix.MS_STRICTATIME, 0, true
	case "sync":
		return unix.MS_SYNCHRONOUS, 0, true
	case "bind":
		return unix.MS_BIND, 0, true
	case "rbind":
		return unix.MS_BIND | unix.MS_REC, 0, true
	case "move":
		return unix.MS_MOVE, 0, true
	case "remount":
		return unix.MS_REMOUNT, 0, true
	case "private":
		return unix.MS_PRIVATE, 0, true
	case "rprivate":
		return unix.MS_PRIVATE | unix.MS_REC, 0, true
	case "shared":
		return unix.MS_SHARED, 0, true
	case "defaults":
		return 0, 0, true
	}
	return 0, 0, false
}

func runMount(c *call) error {
	if len(c.args) == 0 {
		f, err := os.Open("/proc/self/mounts")
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(c.out, f)
		return err
	}
	if len(c.args) > 2 {
		return usageError("a source and a folder")
	}
	source, dir := "none", c.args[len(c.args)-1]
	if len(c.args) == 2 {
		source = c.args[0]
	}
	var flags uintptr
	var data []string
	loop := false
	for opt := range strings.SplitSeq(c.opts['o'], ",") {
		set, clear, ok := mountFlag(opt)
		switch {
		case ok:
			flags = flags&^clear | set
		case opt == "loop":
			loop = true
		case opt != "" && !strings.HasPrefix(opt, "x-"):
			data = append(data, opt)
		}
	}
	if c.has('r') {
		flags |= unix.MS_RDONLY
	}
	if loop {
		dev, err := attachLoop(source, flags&unix.MS_RDONLY != 0)
		if err != nil {
			return err
		}
		defer dev.Close() // the mount keeps the device from going
		source = dev.Name()
	}
	types, err := mountTypes(c.opts['t'], flags)
	if err != nil {
		return err
	}
	for _, fstype := range types {
		err = mountOnce(source, dir, fstype, flags, strings.Join(data, ","))
		if err == nil || !errors.Is(err, unix.EINVAL) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("%s on %s (type %s): %w", source, dir, strings.Join(types, ", "), err)
	}
	return nil
}

// mountOnce mounts; a read-only bind needs a second step (mount(2)).
func mountOnce(source, dir, fstype string, flags uintptr, data string) error {
	err := unix.Mount(source, dir, fstype, flags, data)
	if errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES) && flags&(unix.MS_RDONLY|unix.MS_BIND) == 0 {
		err = unix.Mount(source, dir, fstype, flags|unix.MS_RDONLY, data)
	}
	const extra = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err == nil && flags&unix.MS_BIND != 0 && flags&extra != 0 {
		err = unix.Mount("", dir, "", flags|unix.MS_REMOUNT, "")
	}
	return err
}

// mountTypes is the type given, or every one that the kernel knows for a block
// device.
func mountTypes(given string, flags uintptr) ([]string, error) {
	if given != "" && given != "auto" {
		return []string{given}, nil
	}
	if flags&(unix.MS_BIND|unix.MS_MOVE|unix.MS_REMOUNT|unix.MS_PRIVATE|unix.MS_SHARED) != 0 {
		return []string{""}, nil
	}
	b, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return nil, err
	}
	var types []string
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "nodev"); !ok {
			types = append(types, name)
		}
	}
	return types, nil
}

// attachLoop puts a file behind a loop device that goes when its last user
// does, in one step (LOOP_CONFIGURE, Linux 5.8).
func attachLoop(path string, readOnly bool) (*os.File, error) {
	mode := os.O_RDWR
	var flags uint32 = unix.LO_FLAGS_AUTOCLEAR
	if readOnly {
		mode = os.O_RDONLY
		flags |= unix.LO_FLAGS_READ_ONLY
	}
	file, err := os.OpenFile(path, mode, 0)
	if err != nil && !readOnly && (errors.Is(err, unix.EROFS) || errors.Is(err, fs.ErrPermission)) {
		return attachLoop(path, true)
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("loop: %w (is the module loaded? modprobe loop)", err)
	}
	defer control.Close()
	for range 16 { // others take free devices too
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("loop: no free device: %w", err)
		}
		dev, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), mode, 0)
		if err != nil {
			return nil, fmt.Errorf("loop: %w", err)
		}
		config := unix.LoopConfig{Fd: uint32(file.Fd()), Info: unix.LoopInfo64{Flags: flags}}
		copy(config.Info.File_name[:len(config.Info.File_name)-1], path)
		err = unix.IoctlLoopConfigure(int(dev.Fd()), &config)
		if err == nil {
			return dev, nil
		}
		_ = dev.Close()
		if !errors.Is(err, unix.EBUSY) {
			return nil, fmt.Errorf("loop: %s on %s: %w", path, dev.Name(), err)
		}
	}
	return nil, errors.New("loop: every free device was taken by somebody else")
}

func runUmount(c *call) error {
	if len(c.args) == 0 {
		return usageError("no folder")
	}
	flags := 0
	if c.has('l') {
		flags |= unix.MNT_DETACH
	}
	if c.has('f') {
		flags |= unix.MNT_FORCE
	}
	for _, dir := range c.args {
		if err := unix.Unmount(dir, flags); err != nil {
			if errors.Is(err, unix.EBUSY) {
				err = fmt.Errorf("%w (in use; -l detaches it all the same)", err)
			}
			c.complain(fmt.Errorf("%s: %w", dir, err))
		}
	}
	return nil
}
