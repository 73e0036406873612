package reports

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"
)

// nonceTime is how long a nonce is good for.
const nonceTime = 2 * time.Minute

// mostUsed bounds what is remembered of nonces that came back.
const mostUsed = 1 << 16

// Nonces are given to whoever asks, and cost no memory until they come back,
// once each.
type Nonces struct {
	secret [32]byte
	mu     sync.Mutex
	used   map[[32]byte]time.Time
}

// NewNonces are those of this process.
func NewNonces() *Nonces {
	n := &Nonces{used: map[[32]byte]time.Time{}}
	rand.Read(n.secret[:])
	return n
}

// Give makes a nonce: the time, what nobody can guess, and a seal of the two.
func (n *Nonces) Give(now time.Time) []byte {
	nonce := binary.BigEndian.AppendUint64(nil, uint64(now.UnixMilli()))
	nonce = append(nonce, make([]byte, 8)...)
	rand.Read(nonce[8:])
	return append(nonce, n.seal(nonce)...)
}

func (n *Nonces) seal(nonce []byte) []byte {
	h := hmac.New(sha256.New, n.secret[:])
	h.Write(nonce)
	return h.Sum(nil)[:16]
}

// Take tells whether a nonce is one that was given lately, and takes it back.
func (n *Nonces) Take(nonce []byte, now time.Time) bool {
	if len(nonce) != 32 || !bytes.Equal(n.seal(nonce[:16]), nonce[16:]) {
		return false
	}
	age := now.Sub(time.UnixMilli(int64(binary.BigEndian.Uint64(nonce))))
	if age < 0 || age > nonceTime {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for old, at := range n.used {
		if now.Sub(at) > nonceTime {
			delete(n.used, old)
		}
	}
	if _, again := n.used[[32]byte(nonce)]; again || len(n.used) >= mostUsed {
		return false
	}
	n.used[[32]byte(nonce)] = now
	return true
}
