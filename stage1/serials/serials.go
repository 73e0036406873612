// Package serials is what a machine remembers of the manifests that it has
// booted: the highest serial of each name. docs/security.md says where and
// when.
package serials

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Size is that of the table's encoding, in bytes: it never changes, so that a
// TPM's index is defined once.
const Size = 8 + entries*entrySize

const (
	entries   = 16
	entrySize = 16
)

// magic is "netstag" and the version of the encoding.
var magic = [8]byte{'n', 'e', 't', 's', 't', 'a', 'g', 1}

// A Table has the highest serial of some names. The zero Table is that of a
// machine that has booted nothing.
type Table struct {
	names  [entries][8]byte // the beginning of a name's SHA-256
	values [entries]uint64
}

// short stands for a name.
func short(name string) (s [8]byte) {
	sum := sha256.Sum256([]byte(name))
	copy(s[:], sum[:])
	return s
}

// Highest is the highest serial of a name, 0 where there is none.
func (t *Table) Highest(name string) uint64 {
	for i, n := range t.names {
		if n == short(name) {
			return t.values[i]
		}
	}
	return 0
}

// Raise remembers a serial of a name, where it is higher. It reports whether
// anything changed; a table that is full is an error, and keeps what it has: to
// forget another name for a new one would let that be replayed.
func (t *Table) Raise(name string, serial uint64) (bool, error) {
	if serial == 0 {
		return false, nil
	}
	for i := range t.names {
		switch {
		case t.names[i] == short(name) && t.values[i] >= serial:
			return false, nil
		case t.names[i] == short(name), t.values[i] == 0:
			t.names[i], t.values[i] = short(name), serial
			return true, nil
		}
	}
	return false, fmt.Errorf("this machine has booted manifests of %d names, and has no room for %q", entries, name)
}

// Merge takes over what other has higher.
func (t *Table) Merge(other Table) {
	for i, n := range other.names {
		for j := range t.names {
			if free := t.values[j] == 0; other.values[i] > 0 && (free || t.names[j] == n) {
				t.names[j], t.values[j] = n, max(t.values[j], other.values[i])
				break
			}
		}
	}
}

// Encode writes the table.
func (t *Table) Encode() []byte {
	b := bytes.Clone(magic[:])
	for i, n := range t.names {
		b = binary.BigEndian.AppendUint64(append(b, n[:]...), t.values[i])
	}
	return b
}

// Decode reads a table.
func Decode(b []byte) (Table, error) {
	var t Table
	if len(b) != Size || !bytes.HasPrefix(b, magic[:]) {
		return t, fmt.Errorf("serials of booted manifests: %d bytes that are not understood", len(b))
	}
	for i := range t.names {
		entry := b[8+i*entrySize:]
		copy(t.names[i][:], entry)
		t.values[i] = binary.BigEndian.Uint64(entry[8:])
	}
	return t, nil
}
