package mount

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"netstage/stage1/fault"
)

// layout are the places that an image takes in a new root, where nothing else
// may be mounted: it would be in the image's place.
var layout = []string{"/nix/store", "/nix/.ro-store", "/nix/.rw-store"}

// HidesImage tells whether what is mounted at e's target would be above, at or
// in the place of the image.
func (e Entry) HidesImage() bool {
	for _, place := range layout {
		if Inside(place, e.Target) || Inside(e.Target, place) {
			return true
		}
	}
	return false
}

// hidden says that something was mounted over what had been verified.
func hidden(place, why string) error {
	return fault.Errorf(fault.Policy, "%s is not the image's any more: %s; mount file systems elsewhere (the initrd's /etc/netstage/fstab), and look for links on disks that lead there", place, why)
}

// A Witness holds what an image has at some places of a new root, to be
// compared when everything else is mounted, too.
type Witness struct {
	root  string
	files []witnessed
}

type witnessed struct {
	place string
	is    identity
}

// identity tells a file of a mount from all others.
type identity struct {
	mount, inode uint64
	device       [2]uint32
}

// NewWitness looks at the places inside root, which must be there.
func NewWitness(root string, places ...string) (*Witness, error) {
	w := &Witness{root: root}
	for _, place := range places {
		is, err := identify(root, place)
		if err != nil {
			return nil, err
		}
		w.files = append(w.files, witnessed{place, is})
	}
	return w, nil
}

// Check looks at them again: each has to be the same file of the same mount,
// and nothing may be mounted in the store. The class is fault.Policy where it
// is not so.
func (w *Witness) Check() error {
	for _, f := range w.files {
		is, err := identify(w.root, f.place)
		if err != nil {
			return hidden(f.place, err.Error())
		}
		if is != f.is {
			return hidden(f.place, "something is mounted over it, or above it")
		}
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	store := filepath.Join(w.root, "nix/store")
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		if at := unescape(fields[4]); at != store && Inside(at, store) {
			return hidden(strings.TrimPrefix(at, w.root), "something is mounted in the store")
		}
	}
	return nil
}

// identify opens a place inside root, as what is executed there would be found.
func identify(root, place string) (identity, error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return identity{}, &os.PathError{Op: "open", Path: root, Err: err}
	}
	defer unix.Close(dir)
	fd, err := unix.Openat2(dir, place, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT})
	if err != nil {
		return identity{}, &os.PathError{Op: "open", Path: place, Err: err}
	}
	defer unix.Close(fd)
	var stat unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_MNT_ID, &stat); err != nil {
		return identity{}, &os.PathError{Op: "statx", Path: place, Err: err}
	}
	return identity{stat.Mnt_id, stat.Ino, [2]uint32{stat.Dev_major, stat.Dev_minor}}, nil
}
