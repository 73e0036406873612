package mount

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// longest is how many bytes fsconfig(2) takes of a value.
const longest = 255

// isLong tells whether an option is too long for fsconfig(2).
func isLong(options string) bool {
	for option := range strings.SplitSeq(options, ",") {
		if _, value, _ := strings.Cut(option, "="); len(value) > longest {
			return true
		}
	}
	return false
}

// setLong gives a file system context an option that is too long for it, where
// there is another word for its parts: the layers of an overlay, since Linux
// 6.7. done says that there was.
func setLong(fs int, kind, option string) (done bool, err error) {
	key, value, _ := strings.Cut(option, "=")
	if len(value) <= longest || kind != "overlay" || key != "lowerdir" || strings.Contains(value, "::") || strings.Contains(value, `\`) {
		return false, nil
	}
	for layer := range strings.SplitSeq(value, ":") {
		if err := unix.FsconfigSetString(fs, "lowerdir+", layer); err != nil {
			return true, err
		}
	}
	return true, nil
}

// openLong is Open by mount(2), which takes a page of options, by way of a
// folder that nobody knows.
func (m Mount) openLong() (_ *Tree, err error) {
	fail := func(op string, err error) (*Tree, error) { return nil, m.failed(op, "", err) }
	os.MkdirAll(os.TempDir(), 0o1777)
	dir, err := os.MkdirTemp("", "mount-")
	if err != nil {
		return fail("mkdir", err)
	}
	defer os.Remove(dir)
	var data []string
	flags := uintptr(0)
	for option := range strings.SplitSeq(m.Options, ",") {
		if _, ok := attributes[option]; !ok && option != "" {
			data = append(data, option)
		}
	}
	if m.has("ro") {
		flags |= unix.MS_RDONLY
	}
	text := strings.Join(data, ",")
	if len(text) >= os.Getpagesize() {
		return fail("mount", errors.New("its options are longer than a page"))
	}
	if err := unix.Mount(m.Source, dir, m.Type, flags, text); err != nil {
		return fail("mount", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	fd, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fail("open_tree", err)
	}
	if attr := m.attributes(); attr != 0 {
		set := unix.MountAttr{Attr_set: uint64(attr)}
		if attr&unix.MOUNT_ATTR__ATIME != 0 {
			set.Attr_clr = unix.MOUNT_ATTR__ATIME
		}
		if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &set); err != nil {
			unix.Close(fd)
			return fail("mount_setattr", err)
		}
	}
	return &Tree{mount: m, fd: fd}, nil
}
