package kept

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"
)

// ErrNoRoom is the error of a disk that is too small for the image.
var ErrNoRoom = errors.New("the disk has no room for it")

// Image is what is to be kept.
type Image struct {
	Record
	File io.ReaderAt // of Size bytes
	Tree io.ReaderAt // of TreeSize bytes; nil where that is 0
}

// Keep writes an image to a disk, in the place of the older generation, and
// of both where there is no room for two. An image that is there already is
// only marked as seen. Version and Serial of its record are set here.
//
// It may be interrupted at any byte: what is not whole has no record.
func Keep(ctx context.Context, disk *os.Root, image Image) error {
	list, _ := List(disk)
	list = slices.DeleteFunc(list, func(g Generation) bool { return g.Serial == lastSerial })
	image.Version, image.Serial = 1, 1
	if len(list) > 0 {
		image.Serial = list[0].Serial + 1
	}
	list = slices.DeleteFunc(list, func(g Generation) bool { return !g.whole() })
	for _, g := range list {
		if same(g.Record, image.Record) {
			image.Kept = g.Kept
			return write(disk, g.slot, image.Record)
		}
	}
	slot := free(list)
	if err := makeRoom(disk, slot, list, image.Size+image.TreeSize+recordMost); err != nil {
		return fmt.Errorf("keep an image of %d MiB in %s: %w", image.Size>>20, disk.Name(), err)
	}
	err := disk.MkdirAll(slot, 0o700)
	if err == nil {
		err = copyFile(ctx, disk, path.Join(slot, imageFile), image.File, image.Size)
	}
	if err == nil && image.TreeSize > 0 {
		err = copyFile(ctx, disk, path.Join(slot, treeFile), image.Tree, image.TreeSize)
	}
	if err == nil {
		err = write(disk, slot, image.Record)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("keep an image in %s: %w", disk.Name(), err), clearSlot(disk, slot))
	}
	return nil
}

// makeRoom empties a slot, and the other one too where that is not enough and
// would be.
func makeRoom(disk *os.Root, slot string, list []Generation, need int64) error {
	if err := clearSlot(disk, slot); err != nil {
		return err
	}
	have := room(disk)
	for _, g := range list {
		if g.slot == slot || have >= need || have+g.Size+g.TreeSize < need {
			continue
		}
		if err := clearSlot(disk, g.slot); err != nil {
			return err
		}
		have = room(disk)
	}
	if have < need {
		return fmt.Errorf("%w: %d MiB are free, %d are needed", ErrNoRoom, have>>20, (need+1<<20-1)>>20)
	}
	return nil
}

func same(a, b Record) bool {
	return a.Size == b.Size && bytes.Equal(a.RootHash, b.RootHash) && (len(a.RootHash) > 0 || len(a.SHA256) > 0 && bytes.Equal(a.SHA256, b.SHA256))
}

func (g *Generation) whole() bool {
	f, err := g.Image()
	if err != nil {
		return false
	}
	f.Close()
	if g.TreeSize > 0 {
		if f, err = g.Tree(); err != nil {
			return false
		}
		f.Close()
	}
	return true
}

// free is the slot of no generation, else of the oldest.
func free(list []Generation) string {
	for _, slot := range slots {
		taken := false
		for i := range list {
			taken = taken || list[i].slot == slot
		}
		if !taken {
			return slot
		}
	}
	return list[len(list)-1].slot
}

// clearSlot removes a generation, its record first and for good.
func clearSlot(disk *os.Root, slot string) error {
	err := disk.Remove(path.Join(slot, recordFile))
	if err == nil {
		err = syncFolder(disk, slot)
	}
	if err == nil || errors.Is(err, os.ErrNotExist) {
		err = disk.RemoveAll(slot)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("make room for an image: %w", err)
	}
	return nil
}

// room is how many bytes of a disk are free.
func room(disk *os.Root) (free int64) {
	d, err := disk.Open(".")
	if err != nil {
		return 0
	}
	defer d.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(d.Fd()), &st); err != nil {
		return 0
	}
	return int64(st.Bavail) * st.Bsize
}

// copied is how much is copied between two looks at the context. The pages of
// what was written are given back at once: they are nobody's working set.
const copied = 4 << 20

func copyFile(ctx context.Context, disk *os.Root, name string, from io.ReaderAt, size int64) error {
	f, err := disk.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	fd := int(f.Fd())
	if err := unix.Fallocate(fd, 0, 0, size); err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("reserve %d MiB: %w", size>>20, err)
	}
	buf := make([]byte, copied)
	for at := int64(0); at < size; at += copied {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := buf[:min(copied, size-at)]
		if n, err := from.ReadAt(p, at); n < len(p) {
			return fmt.Errorf("read byte %d: %w", at+int64(n), err)
		}
		if _, err := f.WriteAt(p, at); err != nil {
			return err
		}
		// In small steps, so that a boot that reads this disk never waits for
		// gigabytes.
		if err := f.Sync(); err != nil {
			return err
		}
		unix.Fadvise(fd, at, copied, unix.FADV_DONTNEED)
	}
	return errors.Join(f.Sync(), f.Close())
}

// write puts a record in place, at once.
func write(disk *os.Root, slot string, r Record) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	record, next := path.Join(slot, recordFile), path.Join(slot, recordFile+".new")
	f, err := disk.OpenFile(next, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	// Image and tree are in the folder before the record is.
	if err := syncFolder(disk, slot); err != nil {
		return err
	}
	if err := disk.Rename(next, record); err != nil {
		return err
	}
	return errors.Join(syncFolder(disk, slot), syncFolder(disk, folder), syncFolder(disk, "."))
}

func syncFolder(disk *os.Root, name string) error {
	d, err := disk.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
