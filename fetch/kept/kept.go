// Package kept keeps the images that a machine booted well, on a disk of its
// own, so that the next boot need not fetch what it has.
//
// A disk has two generations. The older is replaced, and counts for nothing
// until it is whole again, so that a cut of the power costs one at most.
// Nothing on the disk is trusted: who reads an image from it verifies it as one
// from a stranger's server.
package kept

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// folder of the disk has a folder for each generation.
const folder = "netstage-images"

var slots = []string{folder + "/0", folder + "/1"}

// Files of a generation. The record is written last and removed first.
const (
	recordFile = "record.json"
	imageFile  = "image"
	treeFile   = "tree"
)

// recordMost is the largest record that is read, in bytes.
const recordMost = 256 << 10

// Record says what an image is, and what vouched for it.
type Record struct {
	Version  int       `json:"version"`            // 1
	Serial   uint64    `json:"serial"`             // counts what was kept in this folder
	Name     string    `json:"name"`               // of the image
	Kept     time.Time `json:"kept"`               // when it was written
	Seen     time.Time `json:"seen"`               // when a server last had this very image
	Size     int64     `json:"size"`               // of the image, in bytes
	TreeSize int64     `json:"tree_size"`          // of the verity tree; 0: there is none
	RootHash []byte    `json:"roothash"`           // of the tree
	SHA256   []byte    `json:"sha256"`             // where it was known
	Init     string    `json:"init,omitempty"`     // the manifest's
	Manifest []byte    `json:"manifest,omitempty"` // signed
	Minisig  []byte    `json:"minisig,omitempty"`  // its signature
	// The list of keys that the manifest is signed by, and its signature.
	Keys        []byte `json:"keys,omitempty"`
	KeysMinisig []byte `json:"keys_minisig,omitempty"`
	// What a registry had under a digest: a manifest, or an index and the
	// manifest that was chosen from it.
	Artifact [][]byte `json:"artifact,omitempty"`
}

// lastSerial is more than a disk lives to see: somebody else wrote it.
const lastSerial = 1 << 48

// ParseRecord reads a record. It is as good as whoever wrote it.
func ParseRecord(text []byte) (Record, error) {
	var r Record
	if err := json.Unmarshal(text, &r); err != nil {
		return Record{}, fmt.Errorf("record of a kept image: %w", err)
	}
	switch {
	case r.Version != 1:
		return Record{}, fmt.Errorf("record of a kept image: version %d, want 1", r.Version)
	case r.Serial < 1 || r.Serial > lastSerial:
		return Record{}, fmt.Errorf("record of a kept image: serial %d", r.Serial)
	case r.Size <= 0 || r.TreeSize < 0:
		return Record{}, fmt.Errorf("record of a kept image: %d bytes, %d of its tree", r.Size, r.TreeSize)
	case r.TreeSize > 0 && len(r.RootHash) != 32, r.TreeSize == 0 && len(r.RootHash) > 0, len(r.SHA256) != 0 && len(r.SHA256) != 32:
		return Record{}, errors.New("record of a kept image: a digest that is none")
	}
	return r, nil
}

// A Generation is an image on a disk.
type Generation struct {
	Record
	disk *os.Root
	slot string
}

// List returns the generations on a disk, the latest first, and what is wrong
// with others. They can be read for as long as disk is open.
func List(disk *os.Root) (list []Generation, wrong []error) {
	for _, slot := range slots {
		g := Generation{disk: disk, slot: slot}
		err := g.read()
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			wrong = append(wrong, err)
		default:
			list = append(list, g)
		}
	}
	for i := range list { // there are two, and to sort them costs the agent 17 kB
		for j := range list[:i] {
			if list[j].Serial < list[i].Serial {
				list[i], list[j] = list[j], list[i]
			}
		}
	}
	return list, wrong
}

func (g *Generation) read() error {
	f, err := g.open(recordFile)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, recordMost+1))
	if err != nil {
		return err
	}
	if len(text) > recordMost {
		return fmt.Errorf("%s: more than %d KiB", f.Name(), recordMost>>10)
	}
	if g.Record, err = ParseRecord(text); err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	return nil
}

// open opens a file of the generation. The disk may be anybody's: no link leads
// away from it, and what is no plain file is not read.
func (g *Generation) open(name string) (*os.File, error) {
	f, err := g.disk.OpenFile(path.Join(g.slot, name), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%s is no plain file", f.Name()), err, f.Close())
	}
	return f, nil
}

// Image opens the image, which has the size of the record.
func (g *Generation) Image() (*os.File, error) { return g.sized(imageFile, g.Size) }

// Tree opens the image's verity tree.
func (g *Generation) Tree() (*os.File, error) { return g.sized(treeFile, g.TreeSize) }

func (g *Generation) sized(name string, size int64) (*os.File, error) {
	f, err := g.open(name)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || info.Size() != size {
		return nil, errors.Join(fmt.Errorf("%s has not the %d bytes that its record says", f.Name(), size), err, f.Close())
	}
	return f, nil
}

// AgeKnown tells whether the clock can tell the age: one that is a day before
// the mark is wrong, or the mark is.
func (g *Generation) AgeKnown(now time.Time) bool { return now.After(g.Seen.Add(-24 * time.Hour)) }

// Age is how long no server has had this image.
func (g *Generation) Age(now time.Time) time.Duration { return max(0, now.Sub(g.Seen)) }
