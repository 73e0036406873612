// Package store is where a download puts an image: into memory, a file, or a
// memory file that nothing can change.
package store

import "os"

// Step is how much room an image of unknown size is given at a time.
const Step = 32 << 20

// Store keeps one image: Memory, File or Sealed. Its methods are called from
// one goroutine.
type Store interface {
	// Create returns an empty file with room for size bytes. A second call
	// drops what the first one's file held and may return the same file.
	Create(size int64) (*os.File, error)
	// Grow makes room for size bytes in all, when the size was not known at
	// first.
	Grow(size int64) error
	// Commit cuts the file at size, now complete and verified, and returns it
	// opened for reading, with its path.
	Commit(size int64) (*os.File, string, error)
	// Close gives back everything: for a Memory the image too, for a File only
	// what was not committed.
	Close() error
	// InMemory says that the bytes occupy memory, so that what is available is
	// looked at first.
	InMemory() bool
}
