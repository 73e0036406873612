// Package attest judges what machines' TPMs sign of their boots.
package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"

	"netstage/stage1/report"
	"netstage/stage1/tpm/wire"
)

// What a quote is made of (TCG, TPM Library, part 2: 10.12, 11.3, 12.2).
const (
	magic      = 0xff544347
	isQuote    = 0x8018
	algECC     = 0x23
	algSHA256  = 0xb
	algECDSA   = 0x18
	curveP256  = 0x3
	algNull    = 0x10
	restricted = 1<<1 | 1<<4 | 1<<5 | 1<<16 | 1<<18 // it can't leave the TPM, which made it, and signs nothing of others
	decrypts   = 1 << 17
)

// A Quote is one that was verified.
type Quote struct {
	Nonce []byte
	PCRs  map[int]string // SHA-256, in hex
	Key   string         // SHA-256 of the key's public part, in hex
}

// Verify checks the signature of a quote, that it is of the values that the
// report names, and of the nonce. Whose key it is it does not tell.
func Verify(q report.Quote) (Quote, error) {
	key, err := parseKey(q.Key)
	if err != nil {
		return Quote{}, fmt.Errorf("quote: the key: %w", err)
	}
	r := &wire.Reader{Rest: q.Signature}
	scheme, hash, x, y := r.Uint16(), r.Uint16(), r.Sized(), r.Sized()
	if r.Err != nil || len(r.Rest) > 0 || scheme != algECDSA || hash != algSHA256 {
		return Quote{}, errors.New("quote: the signature is not understood")
	}
	digest := sha256.Sum256(q.Attest)
	if !ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(x), new(big.Int).SetBytes(y)) {
		return Quote{}, errors.New("quote: the signature is wrong")
	}
	nonce, pcrs, err := parseAttest(q.Attest)
	if err != nil {
		return Quote{}, fmt.Errorf("quote: %w", err)
	}
	if !bytes.Equal(nonce, q.Nonce) {
		return Quote{}, errors.New("quote: it is of another nonce")
	}
	out := Quote{Nonce: nonce, PCRs: map[int]string{}}
	all, index := sha256.New(), -1
	for _, p := range q.PCRs {
		value, err := hex.DecodeString(p.SHA256)
		if err != nil || len(value) != 32 || p.Index <= index || p.Index > 23 || pcrs.selected>>p.Index&1 == 0 {
			return Quote{}, fmt.Errorf("quote: PCR %d is not one that was signed", p.Index)
		}
		index = p.Index
		pcrs.selected &^= 1 << p.Index
		all.Write(value)
		out.PCRs[p.Index] = hex.EncodeToString(value)
	}
	if pcrs.selected != 0 || !bytes.Equal(all.Sum(nil), pcrs.digest) {
		return Quote{}, errors.New("quote: the values are not those that were signed")
	}
	sum := sha256.Sum256(q.Key)
	out.Key = hex.EncodeToString(sum[:])
	return out, nil
}

// parseKey reads a TPMT_PUBLIC of the kind that the agent makes.
func parseKey(public []byte) (*ecdsa.PublicKey, error) {
	r := &wire.Reader{Rest: public}
	kind, hash, attributes := r.Uint16(), r.Uint16(), r.Uint32()
	r.Sized() // a policy
	symmetric, scheme, digest, curve, kdf := r.Uint16(), r.Uint16(), r.Uint16(), r.Uint16(), r.Uint16()
	x, y := r.Sized(), r.Sized()
	switch {
	case r.Err != nil || len(r.Rest) > 0:
		return nil, errors.New("it is cut off, or too long")
	case kind != algECC || hash != algSHA256 || symmetric != algNull || scheme != algECDSA || digest != algSHA256 || curve != curveP256 || kdf != algNull:
		return nil, errors.New("it is not of ECDSA on P-256")
	case attributes&restricted != restricted || attributes&decrypts != 0:
		return nil, fmt.Errorf("a key with attributes %#x may sign what no TPM said", attributes)
	case len(x) > 32 || len(y) > 32:
		return nil, errors.New("it is no point of P-256")
	}
	point := append([]byte{4}, append(append(make([]byte, 32-len(x)), x...), append(make([]byte, 32-len(y)), y...)...)...)
	return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
}

// signedPCRs are those that a quote is about.
type signedPCRs struct {
	selected uint32
	digest   []byte
}

// parseAttest reads a TPMS_ATTEST of a quote.
func parseAttest(attest []byte) (nonce []byte, pcrs signedPCRs, err error) {
	r := &wire.Reader{Rest: attest}
	head, kind := r.Uint32(), r.Uint16()
	r.Sized() // who signs
	nonce = r.Sized()
	r.Bytes(17 + 8) // clocks, and the version of the TPM's firmware
	banks := r.Uint32()
	bank := r.Uint16()
	bits := r.Sized8()
	pcrs.digest = r.Sized()
	switch {
	case r.Err != nil || len(r.Rest) > 0:
		return nil, pcrs, errors.New("it is cut off, or too long")
	case head != magic || kind != isQuote:
		return nil, pcrs, errors.New("the TPM signed something else")
	case banks != 1 || bank != algSHA256 || len(bits) != 3:
		return nil, pcrs, errors.New("it is not of the bank of SHA-256")
	}
	for i, b := range bits {
		pcrs.selected |= uint32(b) << (8 * i)
	}
	return nonce, pcrs, nil
}
