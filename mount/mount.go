// Package mount mounts what a boot needs: the special file systems, the image
// and the root that is made of it.
package mount

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"netstage/stage1/fault"
)

// A Mount is one line of a mount table, as in fstab(5).
type Mount struct {
	Type    string
	Source  string // device or name
	Target  string // directory; made, with its parents, where it is missing
	Options string // comma separated; "nosuid" and its like become attributes
	Try     string // one more option, left out where the kernel refuses it
}

// failed is the error of a mount: op is the step that failed, such as "fsconfig
// size=5%", log what the kernel said besides the error number.
func (m Mount) failed(op, log string, cause error) *fault.Error {
	class := fault.Mount
	switch {
	case errors.Is(cause, unix.ENODEV):
		class = fault.NoFilesystem
	case errors.Is(cause, unix.ENOMEM):
		class = fault.NoMemory
	}
	text := fmt.Sprintf("mount %s (%s) at %s: %s: %v", m.Source, m.Type, m.Target, op, cause)
	if log != "" {
		text += " (kernel: " + log + ")"
	}
	return &fault.Error{Class: class, Text: text, Cause: cause}
}

// attributes are the options that belong to the mount and not to the file
// system (mount_setattr(2)).
var attributes = map[string]int{
	"ro": unix.MOUNT_ATTR_RDONLY, "nosuid": unix.MOUNT_ATTR_NOSUID,
	"nodev": unix.MOUNT_ATTR_NODEV, "noexec": unix.MOUNT_ATTR_NOEXEC,
	"noatime": unix.MOUNT_ATTR_NOATIME, "strictatime": unix.MOUNT_ATTR_STRICTATIME,
	"nodiratime": unix.MOUNT_ATTR_NODIRATIME, "nosymfollow": unix.MOUNT_ATTR_NOSYMFOLLOW,
}

// attributes are those of m's options together.
func (m Mount) attributes() (attr int) {
	for option := range strings.SplitSeq(m.Options, ",") {
		attr |= attributes[option]
	}
	return attr
}

// has tells whether an option is given.
func (m Mount) has(option string) bool { return slices.Contains(strings.Split(m.Options, ","), option) }

// Do mounts m.
func (m Mount) Do() error { return m.DoUnless(context.Background()) }

// DoUnless mounts m, unless ctx has ended when its disk has answered at last.
// It does not return before that.
func (m Mount) DoUnless(ctx context.Context) error {
	tree, err := m.Open()
	if err != nil {
		return err
	}
	defer tree.Close()
	if err := context.Cause(ctx); err != nil {
		return m.failed("attach", "", err)
	}
	return tree.Attach(m.Target)
}

// A Tree is a mounted file system that is attached nowhere yet. It vanishes
// when it is closed before being attached.
type Tree struct {
	mount Mount
	fd    int
}

// Open makes the file system of m without attaching it.
func (m Mount) Open() (*Tree, error) {
	tree, err := m.open()
	if err != nil && isLong(m.Options) {
		return m.openLong()
	}
	return tree, err
}

func (m Mount) open() (*Tree, error) {
	fs, err := unix.Fsopen(m.Type, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, m.failed("fsopen", "", err)
	}
	defer unix.Close(fs)
	fail := func(op string, err error) (*Tree, error) {
		return nil, m.failed(op, kernelLog(fs), err)
	}
	if m.Source != "" {
		if err := unix.FsconfigSetString(fs, "source", m.Source); err != nil {
			return fail("fsconfig source", err)
		}
	}
	for option := range strings.SplitSeq(m.Options, ",") {
		// A read-only mount of a file system that is itself writable would
		// still write to its device.
		if _, ok := attributes[option]; ok && option != "ro" {
			continue
		}
		if done, err := setLong(fs, m.Type, option); err != nil {
			return fail("fsconfig lowerdir+", err)
		} else if done {
			continue
		}
		if err := set(fs, option); err != nil {
			return fail("fsconfig "+option, err)
		}
	}
	if m.Try != "" {
		// EINVAL is how a kernel without the option answers.
		if err := set(fs, m.Try); err != nil && !errors.Is(err, unix.EINVAL) {
			return fail("fsconfig "+m.Try, err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return fail("create", err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, m.attributes())
	if err != nil {
		return fail("fsmount", err)
	}
	return &Tree{mount: m, fd: fd}, nil
}

// set gives one option, "key=value" or "flag", to a file system context.
func set(fs int, option string) error {
	key, value, hasValue := strings.Cut(option, "=")
	switch {
	case key == "":
		return nil
	case hasValue:
		return unix.FsconfigSetString(fs, key, value)
	}
	return unix.FsconfigSetFlag(fs, key)
}

// kernelLog collects what the kernel has to say about a file system context
// (Documentation/filesystems/mount_api.rst): lines such as "e squashfs: …".
func kernelLog(fs int) string {
	var lines []string
	buf := make([]byte, 1024)
	for {
		n, err := unix.Read(fs, buf)
		if err != nil || n <= 0 {
			return strings.Join(lines, "; ")
		}
		lines = append(lines, strings.TrimSpace(string(buf[:n])))
	}
}

// Path is a directory through which the tree can be looked at before it is
// attached. It needs /proc, and is valid until Close.
func (t *Tree) Path() string { return fmt.Sprintf("/proc/self/fd/%d", t.fd) }

// Attach puts the tree at target, making the directory where it is missing.
// Errors are *Error.
func (t *Tree) Attach(target string) error {
	t.mount.Target = target
	if err := os.MkdirAll(target, 0o755); err != nil {
		return t.mount.failed("mkdir", "", err)
	}
	if err := unix.MoveMount(t.fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return t.mount.failed("move_mount", "", err)
	}
	return nil
}

// Close lets go of the tree. An attached one stays mounted.
func (t *Tree) Close() error { return unix.Close(t.fd) }

// Discard takes down whatever is mounted at target, with all that is mounted
// below, as soon as its last user is gone. Nothing mounted there is no error.
func Discard(target string) error {
	for {
		switch err := unix.Unmount(target, unix.MNT_DETACH); {
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
			return nil
		case err != nil:
			return fmt.Errorf("unmount %s: %w", target, err)
		}
	}
}
