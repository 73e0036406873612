// Package dhcp6 is a DHCPv6 client (RFC 8415) that wants one address and what a
// boot needs to know: its messages, and the order of them.
package dhcp6

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Type is a message's type (RFC 8415 section 7.3).
type Type byte

// The types that a client sends or receives.
const (
	Solicit   Type = 1
	Advertise Type = 2
	Request   Type = 3
	Renew     Type = 5
	Rebind    Type = 6
	ReplyType Type = 7
	Decline   Type = 9
	Inform    Type = 11 // INFORMATION-REQUEST
)

// String is the type as the RFC names it.
func (t Type) String() string {
	names := map[Type]string{
		Solicit: "SOLICIT", Advertise: "ADVERTISE", Request: "REQUEST", Renew: "RENEW",
		Rebind: "REBIND", ReplyType: "REPLY", Decline: "DECLINE", Inform: "INFORMATION-REQUEST",
	}
	if s := names[t]; s != "" {
		return s
	}
	return "message"
}

// The ports, and the address of all servers and relays on a link.
const (
	ClientPort = 546
	ServerPort = 547
)

// Servers is All_DHCP_Relay_Agents_and_Servers.
var Servers = netip.MustParseAddr("ff02::1:2")

// Option codes, of RFC 8415 unless said otherwise.
const (
	optClientID    = 1
	optServerID    = 2
	optIANA        = 3
	optIAAddr      = 5
	optRequested   = 6
	optElapsed     = 8
	optStatus      = 13
	optRapidCommit = 14
	optUserClass   = 15
	optDNS         = 23 // RFC 3646
	optSearch      = 24 // RFC 3646
	optSNTP        = 31 // RFC 4075
	optFQDN        = 39 // RFC 4704
	optNTP         = 56 // RFC 5908
	optBootFile    = 59 // RFC 5970
	optBootParams  = 60 // RFC 5970
)

// requested is what a client asks for.
var requested = []uint16{optDNS, optSearch, optSNTP, optFQDN, optNTP, optBootFile, optBootParams}

// DUID identifies a client by its Ethernet address (DUID-LL, RFC 8415 section
// 11.4): the same at every boot, and known before the machine is.
func DUID(mac net.HardwareAddr) []byte {
	return append([]byte{0, 3, 0, 1}, mac...)
}

// IAID identifies a link's address among those of its client: the end of its
// Ethernet address.
func IAID(mac net.HardwareAddr) uint32 {
	return binary.BigEndian.Uint32(mac[len(mac)-4:])
}

// A Query is a message to servers.
type Query struct {
	Type      Type
	XID       uint32 // of 24 bits
	Client    []byte // DUID
	Server    []byte // DUID of the server meant; nil: any
	Elapsed   time.Duration
	Rapid     bool       // let a SOLICIT be answered by the REPLY (rapid commit)
	Address   bool       // an address is wanted, or meant
	IAID      uint32     // of that
	Addr      netip.Addr // that, where it is known
	UserClass string     // "": none
	Host      string     // the name to be known by; "": none
}

// Bytes is the message.
func (q Query) Bytes() []byte {
	b := []byte{byte(q.Type), byte(q.XID >> 16), byte(q.XID >> 8), byte(q.XID)}
	b = option(b, optClientID, q.Client)
	if q.Server != nil {
		b = option(b, optServerID, q.Server)
	}
	if q.Type != Decline {
		var codes []byte
		for _, code := range requested {
			codes = binary.BigEndian.AppendUint16(codes, code)
		}
		b = option(b, optRequested, codes)
	}
	b = option(b, optElapsed, binary.BigEndian.AppendUint16(nil, uint16(min(q.Elapsed/(10*time.Millisecond), 0xffff))))
	if q.Rapid {
		b = option(b, optRapidCommit, nil)
	}
	if q.Address {
		ia := binary.BigEndian.AppendUint32(nil, q.IAID)
		ia = append(ia, make([]byte, 8)...) // T1 and T2 are the server's choice
		if q.Addr.IsValid() {
			ia = option(ia, optIAAddr, append(q.Addr.AsSlice(), make([]byte, 8)...))
		}
		b = option(b, optIANA, ia)
	}
	if q.UserClass != "" {
		b = option(b, optUserClass, counted(q.UserClass))
	}
	if q.Host != "" {
		name := []byte{0}
		for label := range strings.SplitSeq(q.Host, ".") {
			if n := len(label); n > 0 && n < 64 {
				name = append(append(name, byte(n)), label...)
			}
		}
		b = option(b, optFQDN, name) // without an end: not fully qualified
	}
	return b
}

func option(b []byte, code uint16, data []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, code)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

func counted(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}
