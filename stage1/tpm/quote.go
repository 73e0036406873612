package tpm

import "encoding/binary"

const (
	ecc    = 0x23
	ecdsa  = 0x18
	p256   = 0x3
	none   = 0x10
	signer = 1<<1 | 1<<4 | 1<<5 | 1<<6 | 1<<10 | 1<<16 | 1<<18 // part 2, 8.3: it signs nothing but what the TPM says
)

// A Key signs what the TPM says of itself. It is made of the endorsement
// hierarchy's seed, and so the same at every boot of a machine, until its
// firmware is told to forget.
type Key struct {
	handle uint32
	Public []byte // TPMT_PUBLIC
}

// NewKey makes the key.
func (t *TPM) NewKey() (Key, error) {
	be := binary.BigEndian
	public := be.AppendUint16(nil, ecc)
	public = be.AppendUint16(public, uint16(SHA256))
	public = be.AppendUint32(public, signer)
	public = sized(public, nil)
	for _, v := range []uint16{none, ecdsa, uint16(SHA256), p256, none, 0, 0} {
		public = be.AppendUint16(public, v)
	}
	params := sized(nil, []byte{0, 0, 0, 0}) // no password
	params = sized(params, public)
	params = sized(params, nil)
	params = be.AppendUint32(params, 0)
	handles, r, err := t.run(request{code: createPrimary, handles: []uint32{endorsement}, authorize: 1, params: params}, 1)
	if err != nil {
		return Key{}, err
	}
	k := Key{handle: handles[0], Public: append([]byte(nil), r.Sized()...)}
	return k, r.Err
}

// Quote signs a nonce and the PCRs of SHA-256 whose bits are set: a TPMS_ATTEST
// and a TPMT_SIGNATURE.
func (t *TPM) Quote(k Key, nonce []byte, pcrs uint32) (attest, signature []byte, err error) {
	params := sized(nil, nonce)
	params = binary.BigEndian.AppendUint16(params, none)
	params = append(params, selection(pcrs)...)
	_, r, err := t.run(request{code: quote, handles: []uint32{k.handle}, authorize: 1, params: params}, 0)
	if err != nil {
		return nil, nil, err
	}
	attest = append(attest, r.Sized()...)
	signature = append(signature, r.Rest...)
	return attest, signature, r.Err
}

// Forget makes room in the TPM for other keys.
func (t *TPM) Forget(k Key) error {
	_, _, err := t.run(request{code: flushContext, params: binary.BigEndian.AppendUint32(nil, k.handle)}, 0)
	return err
}
