package tpm

import (
	"encoding/binary"
	"errors"
	"fmt"

	"netstage/stage1/tpm/wire"
)

// Attributes of an NV index (part 2, 13.4): who has its (empty) password, or
// the owner's, reads and writes it, and a wrong one is not counted.
const nvAttributes = 1<<1 | 1<<2 | 1<<17 | 1<<18 | 1<<25

// mostNV is what is read or written of an index, in one piece.
const mostNV = 512

// ErrNotThere says that an NV index was never written.
var ErrNotThere = errors.New("the TPM's index was never written")

// ReadNV reads an NV index.
func (t *TPM) ReadNV(index uint32) ([]byte, error) {
	size, written, err := t.nv(index)
	switch {
	case err != nil:
		return nil, err
	case !written:
		return nil, ErrNotThere
	}
	params := binary.BigEndian.AppendUint16(nil, uint16(size))
	_, r, err := t.run(request{code: nvRead, handles: []uint32{index, index}, authorize: 1, params: append(params, 0, 0)}, 0)
	if err != nil {
		return nil, err
	}
	content := append([]byte(nil), r.Sized()...)
	return content, r.Err
}

// nv is the size of an NV index, and whether it has a content.
func (t *TPM) nv(index uint32) (size int, written bool, err error) {
	_, r, err := t.run(request{code: nvReadPublic, handles: []uint32{index}}, 0)
	if refused, ok := errors.AsType[Refusal](err); ok && refused.notThere() {
		return 0, false, ErrNotThere
	}
	if err != nil {
		return 0, false, err
	}
	public := &wire.Reader{Rest: r.Sized(), Err: r.Err}
	public.Uint32() // its handle
	public.Uint16() // the hash of its name
	attributes := public.Uint32()
	public.Sized() // a policy
	size = int(public.Uint16())
	if public.Err == nil && size > mostNV {
		return 0, false, fmt.Errorf("TPM: NV index %#x has %d bytes: it is not netstage's", index, size)
	}
	return size, attributes>>29&1 == 1, public.Err
}

// WriteNV writes an NV index, and makes it where it is not there.
func (t *TPM) WriteNV(index uint32, content []byte) error {
	size, _, err := t.nv(index)
	switch {
	case errors.Is(err, ErrNotThere):
		err = t.defineNV(index, len(content))
	case err == nil && size != len(content):
		err = fmt.Errorf("TPM: NV index %#x has %d bytes, %d are to be written: it is not netstage's", index, size, len(content))
	}
	if err != nil {
		return err
	}
	_, _, err = t.run(request{code: nvWrite, handles: []uint32{index, index}, authorize: 1, params: append(sized(nil, content), 0, 0)}, 0)
	return err
}

func (t *TPM) defineNV(index uint32, size int) error {
	be := binary.BigEndian
	public := be.AppendUint32(nil, index)
	public = be.AppendUint16(public, uint16(SHA256))
	public = be.AppendUint32(public, nvAttributes)
	public = sized(public, nil)
	public = be.AppendUint16(public, uint16(size))
	_, _, err := t.run(request{code: nvDefineSpace, handles: []uint32{owner}, authorize: 1, params: sized(sized(nil, nil), public)}, 0)
	return err
}
