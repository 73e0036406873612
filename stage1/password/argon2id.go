package password

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// What a hash may cost. The memory has to be there beside an image that may
// fill most of the machine.
const (
	maxMemory  = 256 << 10 // KiB
	maxTime    = 16
	maxThreads = 64
)

// argon2id is a hash of RFC 9106.
type argon2id struct {
	memory  uint32 // KiB
	time    uint32
	threads uint8
	salt    []byte
	key     []byte
}

// New hashes a password with argon2id, at the cost that RFC 9106, section 4,
// recommends where memory is scarce: 64 MiB, three passes, four lanes. The salt
// comes from the system's random numbers.
func New(password []byte) (string, error) {
	if len(password) == 0 || len(password) > MaxLength {
		return "", fmt.Errorf("a password has 1 to %d bytes", MaxLength)
	}
	a := argon2id{memory: 64 << 10, time: 3, threads: 4, salt: make([]byte, 16)}
	if _, err := rand.Read(a.salt); err != nil {
		return "", err
	}
	a.key = a.hash(password, 32)
	encode := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, a.memory, a.time, a.threads, encode(a.salt), encode(a.key)), nil
}

func (a *argon2id) hash(password []byte, length uint32) []byte {
	return argon2.IDKey(password, a.salt, a.time, a.memory, a.threads, length)
}

func (a *argon2id) matches(password []byte) bool {
	return subtle.ConstantTimeCompare(a.hash(password, uint32(len(a.key))), a.key) == 1
}

// parseArgon2id reads "$argon2id$v=19$m=M,t=T,p=P$SALT$HASH".
func parseArgon2id(text string) (*argon2id, error) {
	field := strings.Split(text, "$")
	if len(field) != 6 {
		return nil, errors.New("want $argon2id$v=19$m=…,t=…,p=…$SALT$HASH")
	}
	if field[2] != "v=19" {
		return nil, fmt.Errorf("version %.10q: want v=19", field[2])
	}
	costs := strings.Split(field[3], ",")
	if len(costs) != 3 {
		return nil, fmt.Errorf("costs %.40q: want m=…,t=…,p=…", field[3])
	}
	var cost [3]uint32
	for i, limit := range []struct {
		name     string
		min, max uint64
	}{{"m=", 8, maxMemory}, {"t=", 1, maxTime}, {"p=", 1, maxThreads}} {
		digits, ok := strings.CutPrefix(costs[i], limit.name)
		n, err := strconv.ParseUint(digits, 10, 32)
		if !ok || err != nil || n < limit.min || n > limit.max {
			return nil, fmt.Errorf("cost %.20q: want %s%d to %d", costs[i], limit.name, limit.min, limit.max)
		}
		cost[i] = uint32(n)
	}
	a := &argon2id{memory: cost[0], time: cost[1], threads: uint8(cost[2])}
	if a.memory < 8*uint32(a.threads) {
		return nil, fmt.Errorf("m=%d for p=%d: want at least 8 KiB for each lane", a.memory, a.threads)
	}
	var err error
	if a.salt, err = base64.RawStdEncoding.Strict().DecodeString(field[4]); err != nil || len(a.salt) < 8 || len(a.salt) > 64 {
		return nil, fmt.Errorf("salt %.20q: want 8 to 64 bytes in base64 without padding", field[4])
	}
	if a.key, err = base64.RawStdEncoding.Strict().DecodeString(field[5]); err != nil || len(a.key) < 16 || len(a.key) > 64 {
		return nil, errors.New("hash: want 16 to 64 bytes in base64 without padding")
	}
	return a, nil
}
