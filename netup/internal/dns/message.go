package dns

import (
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Types of records, and codes of answers (RFC 1035, RFC 3596, RFC 6891).
const (
	typeA    = 1
	typeAAAA = 28
	typeOPT  = 41

	rcodeFormat         = 1
	rcodeNoName         = 3
	rcodeNotImplemented = 4
	rcodeBadVersion     = 16
)

// datagram is the longest answer to be had without fragments.
const datagram = 1232

// maxAddrs bounds what is taken of an answer.
const maxAddrs = 16

var (
	errShort = errors.New("the answer is cut short")
	errOther = errors.New("an answer to something else")
)

// reply is what an answer says.
type reply struct {
	rcode     int
	truncated bool
	lame      bool // it neither knows nor asks others
	addrs     []netip.Addr
	ttl       time.Duration
}

func newID() uint16 { return uint16(rand.Uint32()) }

// query is a question as a message that wants recursion.
func query(id uint16, q question, edns bool) []byte {
	b := binary.BigEndian.AppendUint16(nil, id)
	b = append(b, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0)
	if edns {
		b[11] = 1
	}
	for label := range strings.SplitSeq(q.name, ".") {
		b = append(append(b, byte(min(len(label), 63))), label[:min(len(label), 63)]...)
	}
	b = append(b, 0, byte(q.typ>>8), byte(q.typ), 0, 1)
	if edns {
		b = append(b, 0, 0, typeOPT, datagram>>8, datagram&0xff, 0, 0, 0, 0, 0, 0)
	}
	return b
}

// parse reads the answer to a question. errOther says that it is another's.
func parse(b []byte, id uint16, q question) (reply, error) {
	if len(b) < 12 || binary.BigEndian.Uint16(b) != id || b[2]&0x80 == 0 {
		return reply{}, errOther
	}
	r := reply{rcode: int(b[3] & 0x0f), truncated: b[2]&2 != 0, ttl: maxTTL}
	questions, answers := binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	rest := int(binary.BigEndian.Uint16(b[8:])) + int(binary.BigEndian.Uint16(b[10:]))
	const authoritative, recursion = 4, 0x80
	r.lame = r.rcode == 0 && answers == 0 && b[2]&authoritative == 0 && b[3]&recursion == 0
	at, err := skipQuestions(b, int(questions), q)
	if err != nil {
		return r, err
	}
	for i := range int(answers) + rest {
		rec, next, ok := recordAt(b, at)
		if !ok {
			return r, short(r)
		}
		at = next
		switch {
		case rec.typ == typeOPT:
			r.rcode |= int(rec.ttl>>24) << 4
		case i < int(answers) && rec.class == 1 && rec.typ == q.typ:
			r.add(rec)
		}
	}
	return r, nil
}

// skipQuestions returns where an answer's questions end. errOther says that one
// of them is not q.
func skipQuestions(b []byte, questions int, q question) (int, error) {
	at := 12
	for range questions {
		name, next, ok := nameAt(b, at)
		if !ok || len(b) < next+4 {
			return 0, errShort
		}
		if !strings.EqualFold(name, q.name) || binary.BigEndian.Uint16(b[next:]) != q.typ {
			return 0, errOther
		}
		at = next + 4
	}
	return at, nil
}

// resource is a resource record (RFC 1035 section 4.1.3).
type resource struct {
	typ, class uint16
	ttl        uint32
	data       []byte
}

// recordAt reads a record, and where it ends.
func recordAt(b []byte, at int) (rec resource, next int, ok bool) {
	_, at, ok = nameAt(b, at)
	if !ok || len(b) < at+10 {
		return resource{}, 0, false
	}
	rec = resource{typ: binary.BigEndian.Uint16(b[at:]), class: binary.BigEndian.Uint16(b[at+2:]), ttl: binary.BigEndian.Uint32(b[at+4:])}
	data := at + 10
	next = data + int(binary.BigEndian.Uint16(b[at+8:]))
	if len(b) < next {
		return resource{}, 0, false
	}
	rec.data = b[data:next]
	return rec, next, true
}

// add adds the address of a record.
func (r *reply) add(rec resource) {
	if a, ok := netip.AddrFromSlice(rec.data); ok && len(r.addrs) < maxAddrs {
		r.addrs = append(r.addrs, a)
		r.ttl = min(r.ttl, time.Duration(rec.ttl&0x7fffffff)*time.Second)
	}
}

// short is the error of a message that ends early, where that matters.
func short(r reply) error {
	if r.truncated || r.rcode != 0 || len(r.addrs) > 0 {
		return nil
	}
	return errShort
}

// nameAt reads a name, by its pointers too, and where it ends.
func nameAt(b []byte, at int) (name string, next int, ok bool) {
	var labels []string
	for jumps := 0; at < len(b); {
		n := int(b[at])
		switch {
		case n == 0:
			if jumps == 0 {
				next = at + 1
			}
			return strings.Join(labels, "."), next, true
		case n&0xc0 == 0xc0:
			if at+1 >= len(b) || jumps == 32 {
				return "", 0, false
			}
			if jumps == 0 {
				next = at + 2
			}
			jumps++
			at = n&0x3f<<8 | int(b[at+1])
		case n > 63 || at+1+n > len(b) || len(labels) == 128:
			return "", 0, false
		default:
			labels = append(labels, string(b[at+1:at+1+n]))
			at += 1 + n
		}
	}
	return "", 0, false
}

func send(conn net.Conn, network string, m []byte) error {
	if network == "tcp" {
		m = append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...)
	}
	_, err := conn.Write(m)
	return err
}

func receive(conn net.Conn, network string) ([]byte, error) {
	b := make([]byte, 4096)
	if network != "tcp" {
		n, err := conn.Read(b)
		return b[:n], err
	}
	if _, err := io.ReadFull(conn, b[:2]); err != nil {
		return nil, err
	}
	b = make([]byte, binary.BigEndian.Uint16(b))
	_, err := io.ReadFull(conn, b)
	return b, err
}
