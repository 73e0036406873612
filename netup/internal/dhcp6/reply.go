package dhcp6

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/rfc1035label"

	"netstage/netup/lease"
)

// A Reply is a message from a server, an ADVERTISE too. Texts are as they came,
// of any bytes.
type Reply struct {
	Type   Type
	XID    uint32
	Client []byte // DUID of the client meant
	Server []byte // DUID
	Rapid  bool   // the REPLY answers a SOLICIT (rapid commit)
	// Status is why the server can't do what was asked, nil when it can: the
	// first complaint of the message, the address's association and the
	// address.
	Status error
	// PassedOver says what of the message was of no use; "" is nothing.
	PassedOver string

	Addr   netip.Addr    // the first with our IAID that a host can have; not valid: none
	Valid  time.Duration // the address's life; 0 is without end
	T1, T2 time.Duration // when to renew and to rebind, both within Valid; 0 for an address without end

	DNS        []netip.Addr
	Search     []string // domains, without a dot at the end
	NTP        []netip.Addr
	Host       string // the client's name
	BootFile   string // a URL
	BootParams []string
}

// A StatusError is a server's refusal.
type StatusError struct {
	Code    uint16 // see RFC 8415 section 21.13
	Message string // of any bytes
}

// The codes that a client acts on.
const (
	NoAddrsAvail = 2
	NoBinding    = 3
	NotOnLink    = 4
)

func (e *StatusError) Error() string {
	names := []string{"", "UnspecFail", "NoAddrsAvail", "NoBinding", "NotOnLink", "UseMulticast", "NoPrefixAvail"}
	s := fmt.Sprintf("status %d", e.Code)
	if int(e.Code) < len(names) {
		s = names[e.Code]
	}
	message := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, e.Message)
	if message != "" {
		s += ": " + message
	}
	return s
}

var errShort = errors.New("dhcp6: the message is cut short")

// Parse reads what a server sent to the client that has this IAID. An option
// that makes no sense is left out, and with one that is cut short all that
// follows; zero bytes at the end are nothing.
func Parse(b []byte, iaid uint32) (Reply, error) {
	if len(b) < 4 {
		return Reply{}, errShort
	}
	r := Reply{Type: Type(b[0]), XID: uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])}
	if r.Type != Advertise && r.Type != ReplyType {
		return Reply{}, fmt.Errorf("dhcp6: a message of type %d is none of a server", b[0])
	}
	err := options(b[4:], func(code uint16, data []byte) error {
		if r.option(code, data, iaid) != nil && r.PassedOver == "" {
			r.PassedOver = fmt.Sprintf("option %d is cut short", code)
		}
		return nil
	})
	if err != nil && len(r.Server) == 0 {
		return r, err
	}
	if err != nil && r.PassedOver == "" {
		r.PassedOver = "the last option is cut short"
	}
	return r, nil
}

// options calls f for each option.
func options(b []byte, f func(code uint16, data []byte) error) error {
	for len(b) > 0 {
		if len(b) < 4 {
			if len(bytes.Trim(b, "\x00")) == 0 {
				return nil // padding
			}
			return errShort
		}
		code, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if len(b) < 4+n {
			return errShort
		}
		if err := f(code, b[4:4+n]); err != nil {
			return err
		}
		b = b[4+n:]
	}
	return nil
}

// option reads one option of the message.
func (r *Reply) option(code uint16, data []byte, iaid uint32) error {
	switch code {
	case optClientID:
		r.Client = slices.Clone(data)
	case optServerID:
		r.Server = slices.Clone(data)
	case optRapidCommit:
		r.Rapid = true
	case optStatus:
		r.status(data)
	case optIANA:
		if len(data) >= 12 && binary.BigEndian.Uint32(data) == iaid {
			return r.association(data)
		}
	case optDNS:
		r.DNS = addresses(r.DNS, data)
	case optSNTP:
		r.NTP = addresses(r.NTP, data)
	case optNTP:
		return options(data, func(code uint16, data []byte) error {
			if code == 1 { // a server's address; its name (3) would take a look-up
				r.NTP = addresses(r.NTP, data)
			}
			return nil
		})
	case optSearch:
		r.Search = domains(r.Search, data)
	case optFQDN:
		if len(data) > 1 {
			r.Host = firstLabel(data[1:])
		}
	case optBootFile:
		r.BootFile = string(data)
	case optBootParams:
		r.BootParams = countedStrings(r.BootParams, data)
	}
	return nil
}

// domains adds those of a list in DNS's wire format.
func domains(to []string, data []byte) []string {
	labels, err := rfc1035label.FromBytes(data)
	if err != nil {
		return to
	}
	for _, s := range labels.Labels {
		if len(to) < lease.MaxListed {
			to = append(to, strings.TrimSuffix(s, "."))
		}
	}
	return to
}

// countedStrings adds strings that each have their length before them.
func countedStrings(to []string, data []byte) []string {
	for len(data) >= 2 && len(to) < lease.MaxListed {
		n := int(binary.BigEndian.Uint16(data))
		if len(data) < 2+n {
			break
		}
		to = append(to, string(data[2:2+n]))
		data = data[2+n:]
	}
	return to
}

// status notes the message's first complaint.
func (r *Reply) status(data []byte) {
	if len(data) < 2 || r.Status != nil {
		return
	}
	if code := binary.BigEndian.Uint16(data); code != 0 {
		r.Status = &StatusError{Code: code, Message: string(data[2:])}
	}
}

// forever is a life without end.
const forever = 0xffffffff

// association reads an IA_NA: the first of its addresses that lives.
func (r *Reply) association(data []byte) error {
	t1, t2 := binary.BigEndian.Uint32(data[4:]), binary.BigEndian.Uint32(data[8:])
	return options(data[12:], func(code uint16, data []byte) error {
		if code == optStatus {
			r.status(data)
		}
		if code != optIAAddr || len(data) < 24 || r.Addr.IsValid() {
			return nil
		}
		addr := netip.AddrFrom16([16]byte(data))
		preferred, valid := binary.BigEndian.Uint32(data[16:]), binary.BigEndian.Uint32(data[20:])
		refused := false
		err := options(data[24:], func(code uint16, data []byte) error {
			if code == optStatus {
				r.status(data)
				refused = len(data) >= 2 && data[0]|data[1] != 0
			}
			return nil
		})
		if err == nil && !refused && Usable(addr) && valid > 0 && preferred <= valid {
			r.Addr = addr
			r.Valid, r.T1, r.T2 = times(preferred, valid, t1, t2)
		}
		return err
	})
}

// times turns an address's lives into what a client does; a T1 or T2 that the
// server leaves open, or that makes no sense, is what RFC 8415 section 21.4
// recommends.
func times(preferred, valid, t1, t2 uint32) (life, renew, rebind time.Duration) {
	if valid == forever {
		return 0, 0, 0
	}
	seconds := func(n uint32) time.Duration { return time.Duration(n) * time.Second }
	life, renew, rebind = seconds(valid), seconds(t1), seconds(t2)
	good := seconds(preferred)
	if preferred == 0 || preferred == forever {
		good = life
	}
	if t2 == 0 || rebind >= life {
		rebind = good * 8 / 10
	}
	if t1 == 0 || renew > rebind {
		renew = min(good/2, rebind)
	}
	return life, renew, rebind
}

// Usable reports whether a host can have this address of a server.
func Usable(a netip.Addr) bool {
	return a.Is6() && !a.Is4In6() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() && !a.IsLinkLocalUnicast()
}

// addresses adds those of a list that a host can be asked at.
func addresses(to []netip.Addr, data []byte) []netip.Addr {
	for ; len(data) >= 16; data = data[16:] {
		a := netip.AddrFrom16([16]byte(data[:16]))
		if a.IsUnspecified() || a.IsMulticast() || a.Is4In6() || len(to) == lease.MaxListed || slices.Contains(to, a) {
			continue
		}
		to = append(to, a)
	}
	return to
}

// firstLabel is the host's part of a name in DNS's wire format, which may lack
// its end.
func firstLabel(data []byte) string {
	n := int(data[0])
	if n == 0 || n > 63 || len(data) < 1+n {
		return ""
	}
	return string(data[1 : 1+n])
}
