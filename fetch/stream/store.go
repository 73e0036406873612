// Package stream brings an image while it is already in use: first the blocks
// that somebody waits for, then those that a boot is known to need, then the
// rest. Every block is verified before it can be read.
package stream

import (
	"fmt"
	"io"

	"netstage/fetch/verity"
)

// Store is where blocks go: a file of the image's size with holes.
type Store struct {
	File io.WriterAt
	Tree *verity.Tree
	Map  *Bitmap
}

// Span is a range of bytes.
type Span struct{ Off, Len int64 }

func (s Span) end() int64 { return s.Off + s.Len }

func (s *Store) blockSize() int64 { return int64(s.Tree.Superblock().DataBlockSize) }

// size is the image's.
func (s *Store) size() int64 { return s.Tree.Size() }

// blocks are those that a span touches.
func (s *Store) blocks(span Span) (first, last int64) {
	size := s.blockSize()
	return span.Off / size, (min(span.end(), s.size()) + size - 1) / size
}

// has tells whether all of a span is there.
func (s *Store) has(span Span) bool { return s.Map.Has(s.blocks(span)) }

// WrongBlockError says that a mirror sent something else than the image's
// block.
type WrongBlockError struct{ Block, Off int64 }

func (e *WrongBlockError) Error() string {
	return fmt.Sprintf("block %d (byte %d) is wrong", e.Block, e.Off)
}

// put verifies whole blocks that begin at byte off and keeps those that are
// missing. Wrong ones are left out, and the first of them is the error; right
// is how many were right, or there already.
func (s *Store) put(check *verity.Blocks, off int64, p []byte) (right int, err error) {
	size := s.blockSize()
	var wrong error
	for block := off / size; int64(len(p)) >= size; block, p = block+1, p[size:] {
		switch {
		case s.Map.Has(block, block+1):
			right++
		case !check.Right(block, p[:size]):
			if wrong == nil {
				wrong = &WrongBlockError{block, block * size}
			}
		default:
			if _, err := s.File.WriteAt(p[:size], block*size); err != nil {
				return right, fmt.Errorf("keep block %d: %w", block, err)
			}
			s.Map.Set(block)
			right++
		}
	}
	return right, wrong
}
