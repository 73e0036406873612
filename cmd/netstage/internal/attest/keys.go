package attest

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// Keys are the enrolled keys of machines' TPMs, by the name that a machine's
// reports go by: Quote.Key of those that it signs.
type Keys map[string]string

// ParseKeys reads a list: a machine and its key, or the key's name as
// tpm2-tools have it, on each line. What follows # is passed over.
func ParseKeys(text string) (Keys, error) {
	keys := Keys{}
	for n, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(strings.ToLower(line))
		if len(words) == 0 {
			continue
		}
		bad := func(format string, args ...any) (Keys, error) {
			return nil, fmt.Errorf("keys of TPMs: line %d: %s", n+1, fmt.Sprintf(format, args...))
		}
		if len(words) != 2 {
			return bad("%d words, want MACHINE KEY", len(words))
		}
		machine, key := strings.ReplaceAll(words[0], ":", "-"), strings.TrimPrefix(words[1], "0x")
		if len(key) == 68 {
			key = strings.TrimPrefix(key, sha256Name)
		}
		switch digest, err := hex.DecodeString(key); {
		case err != nil || len(digest) != 32:
			return bad("%.80q is no key: its SHA-256, or its name", words[1])
		case keys[machine] != "":
			return bad("a second key of %.40s", machine)
		}
		keys[machine] = key
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("keys of TPMs: there is none")
	}
	return keys, nil
}

// sha256Name is what the name of an object has before the digest of its public
// part (TCG, TPM Library, part 1, 16): the hash's number.
const sha256Name = "000b"
