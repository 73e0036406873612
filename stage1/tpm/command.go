// Package tpm talks to a TPM 2.0 by the few commands that a boot needs (TCG,
// Trusted Platform Module Library, part 3): extend PCRs, keep a few bytes, sign
// what the PCRs are.
package tpm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"netstage/stage1/tpm/wire"
)

// The commands (part 2, 6.5.2).
const (
	nvDefineSpace = 0x12a
	createPrimary = 0x131
	nvWrite       = 0x137
	nvRead        = 0x14e
	quote         = 0x158
	flushContext  = 0x165
	nvReadPublic  = 0x169
	getCapability = 0x17a
	pcrRead       = 0x17e
	pcrExtend     = 0x182
)

// Handles (part 2, 7.4).
const (
	owner       = 0x40000001
	password    = 0x40000009 // a session that authorizes by a password
	endorsement = 0x4000000b
)

// Tags of commands and responses (part 2, 6.9).
const (
	noSessions   = 0x8001
	withSessions = 0x8002
)

const (
	headerSize = 10
	// most is how long a response may be; the kernel's own bound is as large.
	most = 4096
)

// Response codes that are no refusal (part 2, 6.6.3).
const (
	yielded  = 0x908
	selfTest = 0x90a
	retry    = 0x922
)

// A Refusal is what the TPM answers instead of doing as it is told.
type Refusal struct {
	Command, Code uint32
}

func (r Refusal) Error() string {
	return fmt.Sprintf("command %#x: the TPM answers %#x", r.Command, r.Code)
}

// notThere tells whether a handle or an NV index is not defined: TPM_RC_HANDLE,
// whichever handle it is about.
func (r Refusal) notThere() bool { return r.Code&0xbf == 0x8b }

// A TPM is a way to send commands to one.
type TPM struct {
	send func(command []byte) (response []byte, err error)
	end  func() error
}

// New is a TPM that commands are sent to, one after the other.
func New(send func([]byte) ([]byte, error), end func() error) *TPM { return &TPM{send, end} }

// Close lets go of the TPM.
func (t *TPM) Close() error { return t.end() }

// A request is a command to be. Handles that need an authorization come first,
// and their passwords are empty.
type request struct {
	code      uint32
	handles   []uint32
	authorize int
	params    []byte
}

// run sends a command, and returns the handles and the parameters of the
// answer.
func (t *TPM) run(r request, handles int) ([]uint32, *wire.Reader, error) {
	be := binary.BigEndian
	tag := uint16(noSessions)
	var body []byte
	for _, h := range r.handles {
		body = be.AppendUint32(body, h)
	}
	if r.authorize > 0 {
		tag = withSessions
		const session = 9
		body = be.AppendUint32(body, uint32(r.authorize*session))
		for range r.authorize {
			body = be.AppendUint32(body, password)
			body = append(body, 0, 0, 0, 0, 0) // no nonce, no attributes, no password
		}
	}
	body = append(body, r.params...)
	command := be.AppendUint16(nil, tag)
	command = be.AppendUint32(command, uint32(headerSize+len(body)))
	command = be.AppendUint32(command, r.code)
	command = append(command, body...)
	for pause := 5 * time.Millisecond; ; pause *= 2 {
		answer, err := t.send(command)
		if err != nil {
			return nil, nil, fmt.Errorf("TPM: command %#x: %w", r.code, err)
		}
		list, params, err := parse(r.code, answer, handles)
		if refused, ok := errors.AsType[Refusal](err); !ok || pause > 2*time.Second ||
			refused.Code != retry && refused.Code != yielded && refused.Code != selfTest {
			return list, params, err
		}
		time.Sleep(pause)
	}
}

// parse reads an answer.
func parse(code uint32, answer []byte, handles int) ([]uint32, *wire.Reader, error) {
	r := &wire.Reader{Rest: answer}
	tag, size, status := r.Uint16(), r.Uint32(), r.Uint32()
	switch {
	case r.Err != nil || int(size) != len(answer):
		return nil, nil, fmt.Errorf("TPM: command %#x: an answer of %d bytes that says %d", code, len(answer), size)
	case status != 0:
		return nil, nil, fmt.Errorf("TPM: %w", Refusal{code, status})
	}
	var list []uint32
	for range handles {
		list = append(list, r.Uint32())
	}
	if tag == withSessions {
		r = &wire.Reader{Rest: r.Bytes(int(r.Uint32())), Err: r.Err}
	}
	if r.Err != nil {
		return nil, nil, fmt.Errorf("TPM: command %#x: %w", code, r.Err)
	}
	return list, r, nil
}

// sized appends a text with its length in front, a TPM2B.
func sized(to, text []byte) []byte {
	return append(binary.BigEndian.AppendUint16(to, uint16(len(text))), text...)
}
