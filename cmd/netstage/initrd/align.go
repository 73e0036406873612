package initrd

import (
	"bytes"
	"slices"
)

// aligned makes the length of an archive a multiple of four. The kernel looks
// for another archive at such places alone (init/initramfs.c), and what
// operators append by cat would be lost without a word.
//
// Zeros do that after an archive that is not compressed. After a frame of zstd
// the kernel takes them too, but the zstd program does not. So a frame gets
// empty blocks, of three zeros each (RFC 8878, 3.1.1.2).
func aligned(archive []byte) []byte {
	if !bytes.HasPrefix(archive, []byte("\x28\xb5\x2f\xfd")) || len(archive) < 5 {
		return append(archive, make([]byte, -len(archive)&3)...)
	}
	descriptor := archive[4]
	single := int(descriptor >> 5 & 1) // no window descriptor then, and at least a byte of content size
	header := 5 + (1 - single) + [...]int{0, 1, 2, 4}[descriptor&3] + [...]int{single, 2, 4, 8}[descriptor>>6]
	return slices.Insert(archive, header, make([]byte, 3*(len(archive)&3))...)
}
