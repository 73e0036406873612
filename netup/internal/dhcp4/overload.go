package dhcp4

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// Offsets in a BOOTP message (RFC 951, RFC 2131 section 2).
const (
	siaddrAt  = 20
	snameAt   = 44
	fileAt    = 108
	cookieAt  = 236
	optionsAt = 240
)

// Codes of options that a message's form depends on.
const (
	optOverload = 52
	optType     = 53
	optServerID = 54
	optEnd      = 255
)

// cookie begins the options (RFC 2132 section 2).
var cookie = [4]byte{99, 130, 83, 99}

// maxMessage is the longest message that a server may send (option 57): with
// its overloaded fields merged it must still fit nclient4's buffer of 1500.
const maxMessage = 1300

// normalising is a DHCP client's connection on which servers' messages are what
// RFC 2131 has them be, as far as what they say is unambiguous.
type normalising struct {
	net.PacketConn
	passedOver func(server netip.Addr, what []string)
}

// ReadFrom is net.PacketConn's.
func (c normalising) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.PacketConn.ReadFrom(b)
	if err != nil {
		return n, from, err
	}
	var source netip.Addr
	if a, ok := from.(*net.UDPAddr); ok {
		source, _ = netip.AddrFromSlice(a.IP)
		source = source.Unmap()
	}
	whole, passed := normalise(b[:n], source)
	if len(passed) > 0 && c.passedOver != nil {
		c.passedOver(source, passed)
	}
	if len(whole) <= len(b) {
		n = copy(b, whole)
	}
	return n, from, nil
}

// normalise returns a server's message with its options where they belong,
// those that overload the fields file and sname (option 52) behind the others,
// file before sname (RFC 2131 section 4.1), and with an end. An option that is
// cut short is left out with what follows it, a server identifier that lacks
// is what the message otherwise says of its server, and a plain BOOTP message
// gets no options. The second result is what was passed over. A message that
// is none of a server's is returned as it is.
func normalise(b []byte, source netip.Addr) ([]byte, []string) {
	if len(b) < cookieAt || b[0] != 2 {
		return b, nil
	}
	var passed []string
	out := append(slices.Clone(b[:cookieAt]), cookie[:]...)
	if len(b) < optionsAt || [4]byte(b[cookieAt:]) != cookie {
		return append(out, optEnd), nil // RFC 951 knows no options
	}
	options, overload, whole := optionsOf(b[optionsAt:])
	if whole != "" {
		passed = append(passed, whole)
	}
	out = append(out, options...)
	for _, field := range []struct {
		bit      byte
		name     string
		from, to int
	}{{1, "file", fileAt, cookieAt}, {2, "sname", snameAt, fileAt}} {
		if overload&field.bit == 0 {
			continue
		}
		more, _, whole := optionsOf(b[field.from:field.to])
		if whole != "" {
			passed = append(passed, "in the field "+field.name+": "+whole)
		}
		out = append(out, more...)
		clear(out[field.from:field.to])
	}
	options, twice := dropRepeated(out[optionsAt:])
	out, passed = append(out[:optionsAt], options...), append(passed, twice...)
	if hasOption(out[optionsAt:], optType) && !hasOption(out[optionsAt:], optServerID) {
		server := netip.AddrFrom4([4]byte(b[siaddrAt:]))
		if server.IsUnspecified() {
			server = source
		}
		if server.Is4() && usable(server) {
			out = append(append(out, optServerID, 4), server.AsSlice()...)
			passed = append(passed, "no server identifier (option 54), taken for that of "+server.String())
		}
	}
	return append(out, optEnd), passed
}

// optionsOf returns a field's whole options without padding, end and option 52,
// and that one's value; 0 when there is none. The last result says which one is
// cut short.
func optionsOf(b []byte) (options []byte, overload byte, short string) {
	for len(b) > 0 && b[0] != optEnd {
		if b[0] == 0 {
			b = b[1:]
			continue
		}
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return options, overload, fmt.Sprintf("option %d is cut short", b[0])
		}
		n := 2 + int(b[1])
		if b[0] == optOverload {
			if n == 3 && b[2] <= 3 {
				overload = b[2]
			}
		} else {
			options = append(options, b[:n]...)
		}
		b = b[n:]
	}
	return options, overload, ""
}

// single are the options that hold one value of a fixed size: RFC 3396, by
// which options of one code are parts of one, does not mean them.
var single = []byte{1, 26, 28, 50, 51, optType, optServerID, 58, 59}

// dropRepeated leaves the first of each single option, and says which came again.
func dropRepeated(options []byte) (out []byte, twice []string) {
	seen := map[byte]bool{}
	for len(options) > 1 {
		n := 2 + int(options[1])
		if code := options[0]; seen[code] && slices.Contains(single, code) {
			if said := fmt.Sprintf("option %d comes again", code); !slices.Contains(twice, said) {
				twice = append(twice, said)
			}
		} else {
			seen[code] = true
			out = append(out, options[:n]...)
		}
		options = options[n:]
	}
	return out, twice
}

// hasOption reports whether whole options have one of a code.
func hasOption(options []byte, code byte) bool {
	for ; len(options) > 1; options = options[2+int(options[1]):] {
		if options[0] == code {
			return true
		}
	}
	return false
}
