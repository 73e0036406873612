package tpm

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
)

// An Algorithm is a hash's number (TCG Algorithm Registry).
type Algorithm uint16

// The hashes of PCR banks that are extended. What a TPM has besides, SM3 for
// instance, stays as it is.
const (
	SHA1   Algorithm = 0x4
	SHA256 Algorithm = 0xb
	SHA384 Algorithm = 0xc
	SHA512 Algorithm = 0xd
)

// Sum is the digest of data; nil for a hash that is not known.
func (a Algorithm) Sum(data []byte) []byte {
	switch a {
	case SHA1:
		sum := sha1.Sum(data)
		return sum[:]
	case SHA256:
		sum := sha256.Sum256(data)
		return sum[:]
	case SHA384:
		sum := sha512.Sum384(data)
		return sum[:]
	case SHA512:
		sum := sha512.Sum512(data)
		return sum[:]
	}
	return nil
}

// Banks are the hashes that the TPM keeps PCRs of, as far as they are known
// here.
func (t *TPM) Banks() ([]Algorithm, error) {
	const pcrs = 5 // TPM_CAP_PCRS
	params := binary.BigEndian.AppendUint32(nil, pcrs)
	params = append(params, 0, 0, 0, 0, 0, 0, 0, 1)
	_, r, err := t.run(request{code: getCapability, params: params}, 0)
	if err != nil {
		return nil, err
	}
	r.Uint8() // there is no more
	if r.Uint32() != pcrs {
		return nil, fmt.Errorf("TPM: an answer about something else than PCRs")
	}
	var banks []Algorithm
	for range min(r.Uint32(), 16) {
		a, used := Algorithm(r.Uint16()), false
		for _, b := range r.Bytes(int(r.Uint8())) {
			used = used || b != 0
		}
		if used && a.Sum(nil) != nil {
			banks = append(banks, a)
		}
	}
	if r.Err == nil && len(banks) == 0 {
		return nil, fmt.Errorf("TPM: no bank of PCRs is in use")
	}
	return banks, r.Err
}

// Extend extends a PCR by the digests of data, in these banks.
func (t *TPM) Extend(pcr uint32, banks []Algorithm, data []byte) error {
	params := binary.BigEndian.AppendUint32(nil, uint32(len(banks)))
	for _, a := range banks {
		params = append(binary.BigEndian.AppendUint16(params, uint16(a)), a.Sum(data)...)
	}
	_, _, err := t.run(request{code: pcrExtend, handles: []uint32{pcr}, authorize: 1, params: params}, 0)
	return err
}

// selection is a list with PCRs below 24 of the bank of SHA-256.
func selection(pcrs uint32) []byte {
	b := binary.BigEndian.AppendUint32(nil, 1)
	b = binary.BigEndian.AppendUint16(b, uint16(SHA256))
	return append(b, 3, byte(pcrs), byte(pcrs>>8), byte(pcrs>>16))
}

// PCRs reads those below 24 whose bits are set, of the bank of SHA-256.
func (t *TPM) PCRs(wanted uint32) (map[int][]byte, error) {
	values := map[int][]byte{}
	for wanted != 0 {
		_, r, err := t.run(request{code: pcrRead, params: selection(wanted)}, 0)
		if err != nil {
			return nil, err
		}
		r.Uint32() // a counter of updates
		read := uint32(0)
		for range min(r.Uint32(), 16) {
			r.Uint16()
			for i, b := range r.Bytes(int(r.Uint8())) {
				if i < 3 {
					read |= uint32(b) << (8 * i)
				}
			}
		}
		r.Uint32()
		for i := range 24 {
			if read>>i&1 == 1 {
				values[i] = append([]byte(nil), r.Sized()...)
			}
		}
		switch {
		case r.Err != nil:
			return nil, r.Err
		case read&wanted == 0:
			return nil, fmt.Errorf("TPM: PCRs %#x of SHA-256 are not there", wanted)
		}
		wanted &^= read
	}
	return values, nil
}
