package nix

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// ParseSHA256 reads a SHA-256 digest as Nix users write one: 64 hexadecimal
// digits, 52 digits of Nix's base 32, or an SRI string ("sha256-" and
// base64). "sha256:" may precede the first two.
func ParseSHA256(s string) ([]byte, error) {
	text := strings.TrimPrefix(s, "sha256:")
	var digest []byte
	var err error
	switch {
	case strings.HasPrefix(text, "sha256-"):
		digest, err = base64.StdEncoding.DecodeString(text[len("sha256-"):])
	case len(text) == hex.EncodedLen(sha256.Size):
		digest, err = hex.DecodeString(text)
	case len(text) == nix32Len(sha256.Size):
		digest, err = decodeNix32(text)
	default:
		return nil, fmt.Errorf("%q is no SHA-256: want 64 hex digits, 52 nix32 digits or sha256-BASE64", s)
	}
	if err != nil {
		return nil, fmt.Errorf("%q is no SHA-256: %w", s, err)
	}
	if len(digest) != sha256.Size {
		return nil, fmt.Errorf("%q has %d bytes, a SHA-256 has %d", s, len(digest), sha256.Size)
	}
	return digest, nil
}

// nix32 is Nix's alphabet, without e, o, u and t (nix: src/libutil/hash.cc).
const nix32 = "0123456789abcdfghijklmnpqrsvwxyz"

func nix32Len(bytes int) int { return (bytes*8 + 4) / 5 }

// decodeNix32 reverses Nix's base 32, whose last character holds the lowest
// bits of the first byte.
func decodeNix32(s string) ([]byte, error) {
	out := make([]byte, sha256.Size)
	for n := range len(s) {
		c := s[len(s)-1-n]
		digit := strings.IndexByte(nix32, c)
		if digit < 0 {
			return nil, fmt.Errorf("%q is not in nix32's alphabet", c)
		}
		bit := n * 5
		i, shift := bit/8, bit%8
		out[i] |= byte(digit << shift)
		if carry := byte(digit >> (8 - shift)); i+1 < len(out) {
			out[i+1] |= carry
		} else if carry != 0 {
			return nil, fmt.Errorf("bits beyond the last byte")
		}
	}
	return out, nil
}
