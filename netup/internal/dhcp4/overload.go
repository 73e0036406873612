package dhcp4

import "net"

// Offsets in a BOOTP message (RFC 951, RFC 2131 section 2).
const (
	snameAt   = 44
	fileAt    = 108
	cookieAt  = 236
	optionsAt = 240
)

// maxMessage is the longest message that a server may send (option 57): with
// its overloaded fields merged it must still fit nclient4's buffer of 1500.
const maxMessage = 1300

// overloading is a DHCP client's connection on which the options that a server
// put into the fields file and sname, for want of room (option 52), come with
// the others.
type overloading struct{ net.PacketConn }

func (c overloading) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.PacketConn.ReadFrom(b)
	if err == nil {
		if whole := mergeOverload(b[:n]); len(whole) <= len(b) {
			n = copy(b, whole)
		}
	}
	return n, from, err
}

// mergeOverload returns a message whose options all are where they belong, those of
// file before those of sname (RFC 2131 section 4.1). A message without option
// 52, or that makes no sense, is returned as it is.
func mergeOverload(b []byte) []byte {
	if len(b) < optionsAt || [4]byte(b[cookieAt:]) != [4]byte{99, 130, 83, 99} {
		return b
	}
	options, overload, ok := optionsOf(b[optionsAt:])
	if !ok || overload == 0 {
		return b
	}
	out := append([]byte(nil), b[:optionsAt]...)
	out = append(out, options...)
	for _, field := range []struct {
		bit      byte
		from, to int
	}{{1, fileAt, cookieAt}, {2, snameAt, fileAt}} {
		if overload&field.bit == 0 {
			continue
		}
		more, _, ok := optionsOf(b[field.from:field.to])
		if !ok {
			return b
		}
		out = append(out, more...)
		clear(out[field.from:field.to])
	}
	return append(out, 255)
}

// optionsOf returns a field's options without padding, end and option 52, and
// that one's value; 0 when there is none.
func optionsOf(b []byte) (options []byte, overload byte, ok bool) {
	for len(b) > 0 && b[0] != 255 {
		if b[0] == 0 {
			b = b[1:]
			continue
		}
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return nil, 0, false
		}
		n := 2 + int(b[1])
		if b[0] == 52 {
			if n == 3 && b[2] <= 3 {
				overload = b[2]
			}
		} else {
			options = append(options, b[:n]...)
		}
		b = b[n:]
	}
	return options, overload, true
}
