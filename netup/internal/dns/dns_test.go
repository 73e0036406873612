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
	return s
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
		if got := s.questions(); !slices.Equal(got, want) {
			t.Errorf("%s: asked %v", host, got)
		}
		if found := host != "none" && host != "img.lan."; (err == nil) != found || err != nil && !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", host, err)
		}
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
		if err == nil && (len(r.addrs) > maxAddrs || r.ttl > kept || slices.ContainsFunc(r.addrs, func(a netip.Addr) bool { return !a.Is4() })) {
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
