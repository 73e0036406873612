// Package iso9660 says where the files of an ISO image are (ECMA-119), with the
// names of Rock Ridge where it has them: enough to use what is in it without
// the kernel's driver, and without a second copy in its cache.
package iso9660

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
)

const (
	sector      = 2048
	descriptors = 16 * sector
)

// Bounds of what is read: an image has a few folders of what is looked for.
const (
	mostDescriptors = 32
	mostDirectories = 256
	mostDirectory   = 1 << 20
	mostFiles       = 16 << 10
)

// A File is in one piece: Size bytes from Offset on.
type File struct {
	Path         string // from the root, with a slash at its start
	Offset, Size int64
}

// Is tells whether r begins like an ISO image.
func Is(r io.ReaderAt) bool {
	head := make([]byte, 6)
	_, err := r.ReadAt(head, descriptors)
	return err == nil && bytes.Equal(head[1:], []byte("CD001"))
}

// Volume is what is known of an image from its descriptor.
type Volume struct {
	r    io.ReaderAt
	Size int64 // of the whole, in bytes
	root extent
}

// extent is where the data of a file or folder is.
type extent struct{ at, size int64 }

// Open reads the descriptor of an image.
func Open(r io.ReaderAt) (*Volume, error) {
	block := make([]byte, sector)
	for i := range int64(mostDescriptors) {
		if _, err := r.ReadAt(block, descriptors+i*sector); err != nil {
			return nil, fmt.Errorf("ISO image: read its descriptor: %w", err)
		}
		switch {
		case !bytes.Equal(block[1:6], []byte("CD001")), block[0] == 255:
			return nil, errors.New("ISO image: no volume descriptor")
		case block[0] != 1:
			continue
		case binary.LittleEndian.Uint16(block[128:]) != sector:
			return nil, fmt.Errorf("ISO image: blocks of %d bytes", binary.LittleEndian.Uint16(block[128:]))
		}
		root, ok := parseRecord(block[156 : 156+34])
		if !ok || !root.folder {
			return nil, errors.New("ISO image: no root folder")
		}
		return &Volume{r: r, Size: int64(binary.LittleEndian.Uint32(block[80:])) * sector, root: root.extent}, nil
	}
	return nil, errors.New("ISO image: no volume descriptor")
}

// Files are the regular files that are in one piece, folder by folder.
func (v *Volume) Files() ([]File, error) {
	type folder struct {
		path string
		extent
	}
	var files []File
	seen := map[int64]bool{}
	for queue := []folder{{"/", v.root}}; len(queue) > 0; queue = queue[1:] {
		dir := queue[0]
		if seen[dir.at] {
			continue
		}
		seen[dir.at] = true
		if len(seen) > mostDirectories || dir.size > mostDirectory {
			return nil, fmt.Errorf("ISO image: more folders than %d, or one of %d bytes", mostDirectories, dir.size)
		}
		text := make([]byte, dir.size)
		if _, err := v.r.ReadAt(text, dir.at); err != nil {
			return nil, fmt.Errorf("ISO image: read the folder %s: %w", dir.path, err)
		}
		for _, r := range joinPieces(parseFolder(text)) {
			name := path.Join(dir.path, r.name)
			switch {
			case r.folder:
				queue = append(queue, folder{name, r.extent})
			case r.pieces:
			default:
				files = append(files, File{Path: name, Offset: r.at, Size: r.size})
			}
		}
		if len(files) > mostFiles {
			return nil, fmt.Errorf("ISO image: more than %d files", mostFiles)
		}
	}
	return files, nil
}
