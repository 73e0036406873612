package image

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"strings"
)

// series names the images of which each replaces the one before. What is
// drawn by chance elsewhere, the salt of the verity tree and the UUID of an
// erofs, comes from that name: equal blocks of two images of a series have
// equal hashes.
func (o Options) series() string {
	if o.Series != "" {
		return o.Series
	}
	name := filepath.Base(o.Output)
	return strings.TrimSuffix(name, filepath.Ext(name))
}

func (o Options) salt() [sha256.Size]byte {
	return sha256.Sum256([]byte("netstage verity salt of " + o.series()))
}

func (o Options) uuid() string {
	id := named("netstage image of " + o.series())
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// named is a UUID of version 8 (RFC 9562).
func named(name string) [16]byte {
	id := sha256.Sum256([]byte(name))
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	return [16]byte(id[:16])
}
