package nbd

import (
	"encoding/binary"
	"fmt"
)

// What goes over the socket between the kernel and a server, big-endian
// (include/uapi/linux/nbd.h: struct nbd_request and nbd_reply).
const (
	requestMagic = 0x25609513
	replyMagic   = 0x67446698
	requestSize  = 28
	replySize    = 16
)

// Commands of the kernel.
const (
	Read       = 0
	Write      = 1
	Disconnect = 2
	Flush      = 3
	Trim       = 4
)

// The protocol's error numbers, which are those of Linux on most processors.
const (
	errPermission = 1  // EPERM
	errIO         = 5  // EIO
	errMemory     = 12 // ENOMEM
	errInvalid    = 22 // EINVAL
)

// Request is what the kernel asks for.
type Request struct {
	Command uint16
	Flags   uint16
	Cookie  uint64 // comes back with the reply
	Offset  int64
	Length  int64
}

// ParseRequest reads a request's header.
func ParseRequest(b []byte) (Request, error) {
	if len(b) != requestSize {
		return Request{}, fmt.Errorf("nbd: a request of %d bytes, not %d", len(b), requestSize)
	}
	if magic := binary.BigEndian.Uint32(b); magic != requestMagic {
		return Request{}, fmt.Errorf("nbd: a request begins with %08x, not %08x", magic, uint32(requestMagic))
	}
	r := Request{
		Flags: binary.BigEndian.Uint16(b[4:]), Command: binary.BigEndian.Uint16(b[6:]),
		Cookie: binary.BigEndian.Uint64(b[8:]),
		Offset: int64(binary.BigEndian.Uint64(b[16:])), Length: int64(binary.BigEndian.Uint32(b[24:])),
	}
	return r, nil
}

// within tells whether a device of size bytes has what is asked for.
func (r Request) within(size int64) bool {
	return r.Offset >= 0 && r.Length > 0 && r.Length <= size && r.Offset <= size-r.Length
}

// putReply writes a reply's header.
func putReply(b []byte, errno uint32, cookie uint64) {
	binary.BigEndian.PutUint32(b, replyMagic)
	binary.BigEndian.PutUint32(b[4:], errno)
	binary.BigEndian.PutUint64(b[8:], cookie)
}
