package password

import (
	"bytes"
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const (
	defaultRounds = 5000
	minRounds     = 1000
	maxRounds     = 10_000_000 // a minute of a slow machine
	maxSalt       = 16
)

// sha512crypt is a hash of U. Drepper's "Unix crypt using SHA-256 and SHA-512",
// version 0.6, which is crypt(5)'s.
type sha512crypt struct {
	rounds int
	salt   string
	key    string // as it is written
}

// parseSHA512Crypt reads "$6$[rounds=N$]SALT$HASH".
func parseSHA512Crypt(text string) (*sha512crypt, error) {
	c := &sha512crypt{rounds: defaultRounds}
	field := strings.Split(text, "$")[2:]
	if digits, ok := strings.CutPrefix(field[0], "rounds="); ok {
		n, err := strconv.ParseUint(digits, 10, 32)
		if err != nil || n < minRounds || n > maxRounds {
			return nil, fmt.Errorf("rounds %.20q: want %d to %d", digits, minRounds, maxRounds)
		}
		c.rounds, field = int(n), field[1:]
	}
	if len(field) != 2 {
		return nil, errors.New("want $6$SALT$HASH or $6$rounds=N$SALT$HASH")
	}
	if c.salt = field[0]; len(c.salt) > maxSalt || strings.ContainsAny(c.salt, ":\n") {
		return nil, fmt.Errorf("salt %.20q: want at most %d characters", c.salt, maxSalt)
	}
	c.key = field[1]
	if len(c.key) != 86 || strings.Trim(c.key, itoa64) != "" {
		return nil, errors.New("hash: want 86 characters of ./0-9A-Za-z")
	}
	return c, nil
}

func (c *sha512crypt) matches(password []byte) bool {
	return subtle.ConstantTimeCompare([]byte(c.hash(password)), []byte(c.key)) == 1
}

// hash follows the numbered steps of the specification.
func (c *sha512crypt) hash(password []byte) string {
	salt := []byte(c.salt)
	sum := func(parts ...[]byte) []byte {
		d := sha512.Sum512(bytes.Join(parts, nil))
		return d[:]
	}
	b := sum(password, salt, password) // 4-8

	a := sha512.New() // 1-3, 9-12
	a.Write(password)
	a.Write(salt)
	a.Write(repeat(b, len(password)))
	for n := len(password); n > 0; n >>= 1 { // 11
		if n&1 != 0 {
			a.Write(b)
		} else {
			a.Write(password)
		}
	}
	digest := a.Sum(nil)

	p := repeat(sum(bytes.Repeat(password, len(password))), len(password)) // 13-16
	s := repeat(sum(bytes.Repeat(salt, 16+int(digest[0]))), len(salt))     // 17-20

	h := a
	for round := range c.rounds { // 21
		h.Reset()
		if round&1 != 0 {
			h.Write(p)
		} else {
			h.Write(digest)
		}
		if round%3 != 0 {
			h.Write(s)
		}
		if round%7 != 0 {
			h.Write(p)
		}
		if round&1 != 0 {
			h.Write(digest)
		} else {
			h.Write(p)
		}
		digest = h.Sum(digest[:0])
	}
	return encode(digest)
}

// repeat is n bytes of block, over and over.
func repeat(block []byte, n int) []byte {
	return bytes.Repeat(block, n/len(block)+1)[:n]
}

const itoa64 = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// encode writes a digest as step 22 orders it: three bytes, 21 apart and each
// time rotated, to four characters.
func encode(digest []byte) string {
	var out []byte
	put := func(b2, b1, b0 byte, n int) {
		for w := uint(b2)<<16 | uint(b1)<<8 | uint(b0); n > 0; n-- {
			out = append(out, itoa64[w&63])
			w >>= 6
		}
	}
	i, j, k := 0, 21, 42
	for range 21 {
		put(digest[i], digest[j], digest[k], 4)
		i, j, k = j+1, k+1, i+1
	}
	put(0, 0, digest[63], 2)
	return string(out)
}
