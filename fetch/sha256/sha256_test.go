package sha256

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"testing"
)

// TestExamples has the vectors of NIST's "Examples with Intermediate Values" for SHA-256, and the empty message.
func TestExamples(t *testing.T) {
	for message, want := range map[string]string{
		"":    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"abc": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq": "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
	} {
		p := newPlain()
		_, _ = p.Write([]byte(message))
		if got := hex.EncodeToString(p.Sum(nil)); got != want {
			t.Errorf("%q: %s, want %s", message, got, want)
		}
	}
}

// TestLengths covers every length around the padding's edges, each written in every way in two pieces.
func TestLengths(t *testing.T) {
	message := make([]byte, 3*blockSize+1)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(message)
	p := newPlain()
	for n := range message {
		want := sha256.Sum256(message[:n])
		for cut := range n + 1 {
			p.Reset()
			_, _ = p.Write(message[:cut])
			_ = p.Sum(nil) // it must not disturb what follows
			_, _ = p.Write(message[cut:n])
			if got := p.Sum([]byte("x")); string(got) != "x"+string(want[:]) {
				t.Fatalf("%d bytes cut at %d: %x, want %x", n, cut, got[1:], want)
			}
		}
	}
}

func TestMillion(t *testing.T) {
	message := bytes.Repeat([]byte("a"), 1_000_000)
	for _, h := range []interface {
		Write([]byte) (int, error)
		Sum([]byte) []byte
	}{newPlain(), New()} {
		_, _ = h.Write(message)
		if got := hex.EncodeToString(h.Sum(nil)); got != "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0" {
			t.Error(got)
		}
	}
}

// FuzzPlain compares with crypto/sha256, whatever the pieces.
func FuzzPlain(f *testing.F) {
	f.Add([]byte("abc"), uint8(1))
	f.Add(make([]byte, 1000), uint8(63))
	f.Add(bytes.Repeat([]byte{0xff}, 64), uint8(64))
	f.Fuzz(func(t *testing.T, message []byte, piece uint8) {
		p := newPlain()
		for rest := message; len(rest) > 0; {
			n := min(len(rest), int(piece)+1)
			_, _ = p.Write(rest[:n])
			rest = rest[n:]
		}
		if got, want := p.Sum(nil), sha256.Sum256(message); !bytes.Equal(got, want[:]) {
			t.Errorf("%x, want %x", got, want)
		}
	})
}

// BenchmarkPlain compares with crypto/sha256; set GODEBUG=cpu.avx=off to have it without the processor's help.
func BenchmarkPlain(b *testing.B) {
	message := make([]byte, 1<<20)
	b.Run("plain", func(b *testing.B) {
		b.SetBytes(int64(len(message)))
		for b.Loop() {
			p := newPlain()
			_, _ = p.Write(message)
			p.Sum(nil)
		}
	})
	b.Run("crypto", func(b *testing.B) {
		b.SetBytes(int64(len(message)))
		for b.Loop() {
			sha256.Sum256(message)
		}
	})
}
