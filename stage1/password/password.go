// Package password checks passwords against a hash that an initrd carries:
// argon2id as PHC strings have it, and the sha512-crypt of /etc/shadow.
package password

import (
	"errors"
	"fmt"
	"strings"
)

// A Hash is a hash that was understood. The zero Hash matches nothing.
type Hash struct {
	argon *argon2id
	crypt *sha512crypt
}

// MaxLength is how many bytes of a password are looked at: longer ones match
// nothing.
const MaxLength = 512

// Parse reads a file that holds one hash, in the first of its lines that is
// neither empty nor begins with '#':
//
//	$argon2id$v=19$m=65536,t=3,p=4$SALT$HASH    (RFC 9106; salt and hash in base64 without padding)
//	$6$[rounds=N$]SALT$HASH                     (crypt(5); as "mkpasswd -m sha-512" or "openssl passwd -6" print it)
//
// Costs that a machine in its initrd can't be expected to bear are refused, so
// that a mistake is found when the initrd is made and does not lock everybody
// out. Whatever else there is in the file makes it malformed.
func Parse(text []byte) (Hash, error) {
	hash := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case hash != "":
			return Hash{}, errors.New("more than one line of hash")
		default:
			hash = line
		}
	}
	switch {
	case hash == "":
		return Hash{}, errors.New("no password hash in it")
	case strings.HasPrefix(hash, "$argon2id$"):
		a, err := parseArgon2id(hash)
		if err != nil {
			return Hash{}, fmt.Errorf("argon2id: %w", err)
		}
		return Hash{argon: a}, nil
	case strings.HasPrefix(hash, "$6$"):
		c, err := parseSHA512Crypt(hash)
		if err != nil {
			return Hash{}, fmt.Errorf("sha512-crypt: %w", err)
		}
		return Hash{crypt: c}, nil
	}
	return Hash{}, errors.New("no hash of a known kind: want $argon2id$… or $6$…")
}

// Matches tells, in time that does not depend on where they differ, whether
// password is the one that was hashed. It takes as long and as much memory as
// the hash asks for: up to 256 MiB, and seconds.
func (h Hash) Matches(password []byte) bool {
	switch {
	case len(password) > MaxLength:
		return false
	case h.argon != nil:
		return h.argon.matches(password)
	case h.crypt != nil:
		return h.crypt.matches(password)
	}
	return false
}

// Memory is how many bytes a check takes.
func (h Hash) Memory() int64 {
	if h.argon != nil {
		return int64(h.argon.memory) << 10
	}
	return 0
}
