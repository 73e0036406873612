package mount

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"netstage/mount/loop"
)

// Mount is how a file system on a block device is mounted below root.
func (e Entry) Mount(root, device string) Mount {
	return Mount{Type: e.Type, Source: device, Target: filepath.Join(root, e.Target), Options: e.kernelOptions(func(name string) string { return filepath.Join(root, name) })}
}

// Do mounts e below root. device is the node of its block device, empty where
// it has none. Errors are *Error or those of the loop device. A device that
// does not answer when ctx ends is left behind, and mounted nowhere.
func (e Entry) Do(ctx context.Context, root, device string) error {
	done := make(chan error, 1)
	go func() { done <- e.do(ctx, root, device) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return e.Mount(root, device).failed("wait for the kernel", "", context.Cause(ctx))
	}
}

func (e Entry) do(ctx context.Context, root, device string) error {
	m := e.Mount(root, device)
	kind, source := e.Source(root)
	var wrong []error
	at := func(name string) string {
		found, err := inRoot(root, name)
		wrong = append(wrong, err)
		return found
	}
	m.Target, m.Options = at(e.Target), e.kernelOptions(at)
	if kind == OnPath && source == filepath.Join(root, e.Device) {
		source = at(e.Device)
	}
	if err := errors.Join(wrong...); err != nil {
		return e.Mount(root, device).failed("find its places", "", err)
	}
	switch {
	case kind == NoSource:
		m.Source = source
		if e.Type == "overlay" {
			if err := e.makeLayers(at); err != nil {
				return m.failed("mkdir", "", err)
			}
		}
	case kind == OnPath && e.bind():
		m.Source = source
		if err := e.makeSource(source); err != nil {
			return m.failed("make what to bind", "", err)
		}
		return m.bind(e.Has("rbind"))
	case kind == OnPath:
		m.Source = source
		return m.loop()
	}
	return m.DoUnless(ctx)
}

// DoFile mounts the file system in the file e.Device, a path of the
// initramfs, below root.
func (e Entry) DoFile(root string) error { return e.Mount(root, e.Device).loop() }

// makeLayers makes the directories that an overlay writes to.
func (e Entry) makeLayers(at func(string) string) error {
	for _, key := range []string{"upperdir", "workdir"} {
		if dir, ok := e.Value(key); ok {
			if err := os.MkdirAll(at(dir), 0o755); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeSource makes what a bind shows elsewhere where that is missing: a folder,
// as systemd does, or with x-netstage.file an empty file; with the mode of
// x-netstage.mode=. A device is none of it.
func (e Entry) makeSource(source string) error {
	if _, err := os.Lstat(source); !errors.Is(err, os.ErrNotExist) || strings.HasPrefix(source, "/dev/") {
		return nil
	}
	mode := os.FileMode(0o755)
	if e.Has("x-netstage.file") {
		mode = 0o644
	}
	if text, ok := e.Value("x-netstage.mode"); ok {
		bits, err := strconv.ParseUint(text, 8, 12)
		if err != nil {
			return fmt.Errorf("x-netstage.mode=%s is no mode", text)
		}
		mode = os.FileMode(bits & 0o777)
		if bits&unix.S_ISVTX != 0 {
			mode |= os.ModeSticky
		}
	}
	if err := os.MkdirAll(filepath.Dir(source), 0o755); err != nil {
		return err
	}
	if !e.Has("x-netstage.file") {
		if err := os.Mkdir(source, mode); err != nil {
			return err
		}
		return os.Chmod(source, mode)
	}
	file, err := os.OpenFile(source, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	return errors.Join(file.Chmod(mode), file.Close())
}

// loop mounts the file system in a file.
func (m Mount) loop() error {
	readOnly := m.has("ro")
	flags := os.O_RDWR
	if readOnly {
		flags = os.O_RDONLY
	}
	file, err := os.OpenFile(m.Source, flags, 0)
	if err != nil {
		return m.failed("open", "", err)
	}
	defer file.Close()
	device, err := loop.Attach(file, readOnly)
	if err != nil {
		return fmt.Errorf("mount %s: %w", m.Target, err)
	}
	defer device.Close()
	m.Source = device.Name()
	return m.Do()
}

// bind shows the file or folder m.Source at m.Target, too.
func (m Mount) bind(recursive bool) error {
	fail := func(op string, err error) error { return m.failed(op, "", err) }
	info, err := os.Stat(m.Source)
	if err != nil {
		return fail("bind", err)
	}
	if !info.IsDir() {
		// A file goes over a file.
		if err := os.MkdirAll(filepath.Dir(m.Target), 0o755); err != nil {
			return fail("mkdir", err)
		}
		file, err := os.OpenFile(m.Target, os.O_CREATE|os.O_RDONLY, 0o644)
		if err != nil {
			return fail("make the file to mount over", err)
		}
		file.Close()
	} else if err := os.MkdirAll(m.Target, 0o755); err != nil {
		return fail("mkdir", err)
	}
	flags := unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, m.Source, uint(flags))
	if err != nil {
		return fail("open_tree", err)
	}
	defer unix.Close(fd)
	if attr := m.attributes(); attr != 0 {
		set := unix.MountAttr{Attr_set: uint64(attr)}
		if attr&unix.MOUNT_ATTR__ATIME != 0 {
			set.Attr_clr = unix.MOUNT_ATTR__ATIME
		}
		if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &set); err != nil {
			return fail("mount_setattr", err)
		}
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, m.Target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fail("move_mount", err)
	}
	return nil
}

// InUse tells whether a file system on the device is mounted somewhere.
func InUse(device string) (bool, error) {
	fd, err := unix.Open(device, unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EBUSY) {
		return true, nil
	}
	if err != nil {
		return false, &os.PathError{Op: "open", Path: device, Err: err}
	}
	return false, unix.Close(fd)
}
