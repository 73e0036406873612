package stream

import (
	"math/bits"
	"sync/atomic"
)

// Bitmap says which blocks of an image are there. Its words may be memory that
// processes share: a bit is set after its block was written, and never before,
// so that whoever dies in between leaves no lie.
type Bitmap struct {
	words  []uint64
	blocks int64
}

// Words is how many words a bitmap of blocks needs.
func Words(blocks int64) int64 { return (blocks + 63) / 64 }

// NewBitmap uses words, at least Words(blocks) of them.
func NewBitmap(words []uint64, blocks int64) *Bitmap { return &Bitmap{words, blocks} }

// Set says that a block is there.
func (b *Bitmap) Set(block int64) { atomic.OrUint64(&b.words[block/64], 1<<(block%64)) }

// Clear says that it is not.
func (b *Bitmap) Clear(block int64) { atomic.AndUint64(&b.words[block/64], ^uint64(1<<(block%64))) }

// Has tells whether the blocks first to last-1 are all there.
func (b *Bitmap) Has(first, last int64) bool { return b.next(first, last, true) == last }

// Count is how many blocks are there.
func (b *Bitmap) Count() (n int64) {
	for i := range b.words {
		n += int64(bits.OnesCount64(atomic.LoadUint64(&b.words[i])))
	}
	return n
}

// Blocks is how many blocks there can be.
func (b *Bitmap) Blocks() int64 { return b.blocks }

// Missing is the first run of blocks from first to last-1 that are not there,
// empty where all are.
func (b *Bitmap) Missing(first, last int64) (from, to int64) {
	from = b.next(first, last, true)
	return from, b.next(from, last, false)
}

// next is the first block from first to last-1 whose bit is not as given, or
// last.
func (b *Bitmap) next(first, last int64, set bool) int64 {
	for at := first; at < last; {
		word := atomic.LoadUint64(&b.words[at/64])
		if set {
			word = ^word
		}
		if word >>= at % 64; word != 0 {
			return min(last, at+int64(bits.TrailingZeros64(word)))
		}
		at += 64 - at%64
	}
	return max(first, last)
}
