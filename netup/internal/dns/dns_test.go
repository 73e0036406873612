package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeServer answers questions by what a test has it be.
type fakeServer struct {
	conn  net.PacketConn
	names map[string]string // to an address
	edns  func(m []byte) []byte
	mute  bool
	all   func(m []byte) []byte // answers everything, where it is not nil
	tcp   func(m []byte) []byte // answers by TCP

	mu    sync.Mutex
	asked []string
}

func newServer(t *testing.T, s *fakeServer) *fakeServer {
	t.Helper()
	var err error
	if s.conn, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 2048)
		for {
			n, from, err := s.conn.ReadFrom(b)
			if err != nil {
				return
			}
			if m := s.answer(slices.Clone(b[:n])); m != nil {
				s.conn.WriteTo(m, from)
			}
		}
	}()
	t.Cleanup(func() { s.conn.Close(); <-done })
	if s.tcp != nil {
		s.serveTCP(t)
	}
	return s
}

// serveTCP answers on the same port.
func (s *fakeServer) serveTCP(t *testing.T) {
	l, err := net.Listen("tcp", s.conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if m, err := receive(c, "tcp"); err == nil {
				_, next, _ := nameAt(m, 12)
				h := slices.Clone(m[:next+4])
				h[2], h[3], h[11] = h[2]|0x80, 0x80, 0
				if out := s.tcp(h); out != nil {
					send(c, "tcp", out)
				}
			}
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
}

// record is an A record of the question's name, or of another by a pointer.
func record(m []byte, ttl byte, addr ...byte) []byte {
	m[7]++
	return append(append(m, 0xc0, 12, 0, typeA, 0, 1, 0, 0, 0, ttl, 0, 4), addr...)
}

// An answer too long for a datagram comes by TCP; one that does not come so is
// the next server's to give.
func TestTruncated(t *testing.T) {
	truncated := func(m []byte) []byte { m[2] |= 2; return record(m, 60, 10, 0, 0, 9) }
	many := func(m []byte) []byte {
		for i := range byte(200) {
			m = record(m, 60, 10, 0, 1, i)
		}
		return m
	}
	long := newServer(t, &fakeServer{all: truncated, tcp: many})
	cut := newServer(t, &fakeServer{all: truncated, tcp: func([]byte) []byte { return nil }})
	noTCP := newServer(t, &fakeServer{all: truncated})
	good := newServer(t, &fakeServer{names: map[string]string{"a.test": "10.0.1.0"}})
	for name, servers := range map[string][]*fakeServer{"TCP": {long}, "TCP that ends": {cut, good}, "no TCP": {noTCP, good}} {
		got, err := resolverOf(nil, servers...).Lookup(t.Context(), "a.test", false)
		if err != nil || len(got) == 0 || len(got) > maxAddrs || got[0].String() != "10.0.1.0" {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
}

// A server that can't or won't answer, or refers to others, is not the last
// word; that there is no such name is.
func TestServersThatDoNotAnswer(t *testing.T) {
	code := func(c byte) func([]byte) []byte { return func(m []byte) []byte { m[3] |= c; return m } }
	for name, test := range map[string]struct {
		all  func([]byte) []byte
		mute bool
		last bool
	}{
		"SERVFAIL":            {all: code(2)},
		"REFUSED":             {all: code(5)},
		"lame":                {all: func(m []byte) []byte { m[3] = 0; return m }},
		"dead":                {mute: true},
		"answers for another": {all: func(m []byte) []byte { m[13] ^= 1; return m }},
		"NXDOMAIN":            {all: code(rcodeNoName), last: true},
		"no data":             {all: func(m []byte) []byte { return m }, last: true},
		"CNAME in a circle": {all: func(m []byte) []byte {
			m[7] = 1
			return append(m, 0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 2, 0xc0, 12)
		}, last: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first := newServer(t, &fakeServer{all: test.all, mute: test.mute})
			dead := newServer(t, &fakeServer{mute: true})
			good := newServer(t, &fakeServer{names: map[string]string{"a.test": "10.0.0.1"}})
			got, err := resolverOf(nil, first, dead, good).Lookup(t.Context(), "a.test", false)
			if test.last && !errors.Is(err, ErrNotFound) || !test.last && (err != nil || len(got) != 1) {
				t.Errorf("%v %v", got, err)
			}
		})
	}
}

// An address at the end of a chain of names is the name's.
func TestCNAME(t *testing.T) {
	s := newServer(t, &fakeServer{all: func(m []byte) []byte {
		m[7] = 2
		at := len(m)
		m = append(m, 0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 4, 1, 'b', 0xc0, 14)
		return append(m, 0xc0, byte(at+12), 0, typeA, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 0, 1)
	}})
	if got, err := resolverOf(nil, s).Lookup(t.Context(), "a.test", false); err != nil || len(got) != 1 {
		t.Errorf("%v %v", got, err)
	}
}

func (s *fakeServer) answer(m []byte) []byte {
	name, next, _ := nameAt(m, 12)
	typ := binary.BigEndian.Uint16(m[next:])
	withEDNS := m[11] == 1
	s.mu.Lock()
	s.asked = append(s.asked, name)
	s.mu.Unlock()
	if s.mute {
		return nil
	}
	if s.all != nil {
		h := slices.Clone(m[:next+4])
		h[2], h[3], h[11] = h[2]|0x80, 0x80, 0
		return s.all(h)
	}
	head := slices.Clone(m[:next+4])
	head[2], head[3], head[11] = head[2]|0x80, 0x80, 0
	if withEDNS && s.edns != nil {
		return s.edns(head)
	}
	text, ok := s.names[name]
	if !ok {
		head[3] |= rcodeNoName
		return head
	}
	a := netip.MustParseAddr(text)
	if a.Is4() != (typ == typeA) {
		return head
	}
	head[7] = 1
	head = append(head, 0xc0, 12, byte(typ>>8), byte(typ), 0, 1, 0, 0, 0, 60, 0, byte(a.BitLen()/8))
	return append(head, a.AsSlice()...)
}

func (s *fakeServer) questions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// resolverOf asks servers, which go by 127.0.0.2, 127.0.0.3, …
func resolverOf(search []string, servers ...*fakeServer) *Resolver {
	var addrs []netip.Addr
	for i := range servers {
		addrs = append(addrs, netip.AddrFrom4([4]byte{127, 0, 0, byte(2 + i)}))
	}
	return &Resolver{
		Servers: func() []netip.Addr { return addrs },
		Search:  func() []string { return search },
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			a := netip.MustParseAddrPort(address)
			return new(net.Dialer).DialContext(ctx, network, servers[a.Addr().As4()[3]-2].conn.LocalAddr().String())
		},
	}
}

// Servers that do not understand EDNS0 are asked without it, and once only with
// it.
func TestServersWithoutEDNS(t *testing.T) {
	code := func(c byte) func([]byte) []byte {
		return func(m []byte) []byte { m[3] |= c; return m }
	}
	for name, edns := range map[string]func([]byte) []byte{
		"FORMERR": code(rcodeFormat), "NOTIMP": code(rcodeNotImplemented),
		"dropped":      func([]byte) []byte { return nil },
		"header alone": func(m []byte) []byte { m = m[:12]; m[5] = 0; m[3] |= rcodeFormat; return m },
		"garbled":      func(m []byte) []byte { m[7] = 1; return append(m, 0xff, 0xff) },
		"BADVERS": func(m []byte) []byte {
			m[11] = 1
			return append(m, 0, 0, typeOPT, 4, 0xd0, 1, 0, 0, 0, 0, 0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, &fakeServer{names: map[string]string{"a.test": "10.0.0.1", "b.test": "10.0.0.2"}, edns: edns})
			r := resolverOf(nil, s)
			for host, want := range map[string]string{"a.test": "10.0.0.1", "b.test": "10.0.0.2"} {
				got, err := r.Lookup(t.Context(), host, false)
				if err != nil || len(got) != 1 || got[0].String() != want {
					t.Errorf("%s: %v %v", host, got, err)
				}
			}
			if n := len(s.questions()); n != 3 {
				t.Errorf("%d questions: %v", n, s.questions())
			}
		})
	}
}

// Names are completed as resolv.conf(5) has it.
func TestSearch(t *testing.T) {
	search := []string{"a.example", "b.example"}
	names := map[string]string{"node.b.example": "10.0.0.1", "img.lan.b.example": "10.0.0.2", "img.test": "10.0.0.3"}
	for host, want := range map[string][]string{
		"node":     {"node.a.example", "node.b.example"},
		"img.lan":  {"img.lan", "img.lan.a.example", "img.lan.b.example"},
		"IMG.test": {"img.test"},
		"none":     {"none.a.example", "none.b.example", "none"},
		"img.lan.": {"img.lan"},
	} {
		s := newServer(t, &fakeServer{names: names})
		r := resolverOf(search, s)
		_, err := r.Lookup(t.Context(), host, false)
		if got := slices.Compact(s.questions()); !slices.Equal(got, want) { // in one family or in both
			t.Errorf("%s: asked %v", host, got)
		}
		if found := host != "none" && host != "img.lan."; (err == nil) != found || err != nil && !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// A domain of the search list whose servers fail is not the end of it, and a
// name that has addresses of the other family is that name: a domain that
// answers for every name below it is not asked.
func TestSearchGoesOnAndStops(t *testing.T) {
	broken := func(m []byte) []byte {
		switch name, next, _ := nameAt(m, 12); {
		case name == "node.b.example" && m[next+1] == typeA:
			return record(m, 60, 10, 0, 0, 1)
		case name == "node.a.example":
			m[3] |= 2 // SERVFAIL
		case strings.HasSuffix(name, "six.test.b.example") && m[next+1] == typeA:
			return record(m, 60, 10, 6, 6, 6) // a wildcard
		case name == "six.test" && m[next+1] == typeAAAA:
			m[7]++
			return append(append(m, 0xc0, 12, 0, typeAAAA, 0, 1, 0, 0, 0, 60, 0, 16), netip.MustParseAddr("2001:db8::6").AsSlice()...)
		}
		return m // no such address
	}
	r := resolverOf([]string{"a.example", "b.example"}, newServer(t, &fakeServer{all: broken}))
	if got, err := r.Lookup(t.Context(), "node", false); err != nil || len(got) != 1 {
		t.Errorf("behind a domain that fails: %v %v", got, err)
	}
	if got, err := r.Lookup(t.Context(), "none", false); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v %v", got, err)
	}
	if got, err := r.Lookup(t.Context(), "six.test", false); !errors.Is(err, ErrNotFound) {
		t.Errorf("another host's: %v %v", got, err)
	}
	if got, err := r.Lookup(t.Context(), "six.test", true); err != nil || len(got) != 1 {
		t.Errorf("%v %v", got, err)
	}
}

// A dead server costs little and the next questions nothing; answers are kept.
func TestNextServerAndCache(t *testing.T) {
	dead := newServer(t, &fakeServer{mute: true})
	good := newServer(t, &fakeServer{names: map[string]string{"a.test": "10.0.0.1", "b.test": "10.0.0.2"}})
	r := resolverOf(nil, dead, good)
	for _, host := range []string{"a.test", "a.test", "b.test"} {
		if got, err := r.Lookup(t.Context(), host, false); err != nil || len(got) != 1 {
			t.Errorf("%s: %v %v", host, got, err)
		}
	}
	if got := good.questions(); !slices.Equal(got, []string{"a.test", "b.test"}) {
		t.Errorf("asked %v", got)
	}
	if n := len(dead.questions()); n != 1 {
		t.Errorf("%d questions to the dead one", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := resolverOf(nil, dead).Lookup(ctx, "a.test", false); err == nil {
		t.Error("an answer from nobody")
	}
	if _, err := (&Resolver{Servers: func() []netip.Addr { return nil }, Search: func() []string { return nil }}).Lookup(t.Context(), "a.test", false); !errors.Is(err, ErrNoServer) {
		t.Errorf("%v", err)
	}
}

func FuzzParse(f *testing.F) {
	q := question{"a.test", typeA}
	s := &fakeServer{names: map[string]string{"a.test": "10.0.0.1"}}
	f.Add(s.answer(query(7, q, false)))
	f.Add(s.answer(query(7, q, true)))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parse(b, 7, q)
		if err == nil && (len(r.addrs) > maxAddrs || r.ttl > maxTTL || slices.ContainsFunc(r.addrs, func(a netip.Addr) bool { return !a.Is4() })) {
			t.Errorf("%+v", r)
		}
	})
}

// A question is one that another reader understands.
func TestQuery(t *testing.T) {
	b := query(7, question{"a." + strings.Repeat("x", 63) + ".test", typeAAAA}, true)
	name, next, ok := nameAt(b, 12)
	if !ok || name != "a."+strings.Repeat("x", 63)+".test" || binary.BigEndian.Uint16(b[next:]) != typeAAAA || len(b) != next+4+11 {
		t.Errorf("%x", b)
	}
}
