// Package dns is a stub resolver that fares as libc's does with the servers
// there are (resolv.conf(5)): it asks again without EDNS0 where that is not
// understood, goes on to the next server, and completes names by a search list.
package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Resolver looks names up. Its fields are set before it is used.
type Resolver struct {
	Servers func() []netip.Addr
	Search  func() []string
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)

	mu    sync.Mutex
	turn  int                 // of the server to ask first; grows when one fails
	plain map[netip.Addr]bool // servers that do not understand EDNS0
	cache map[question]answer
}

type question struct {
	name string // lower case, without a dot at the end
	typ  uint16
}

type answer struct {
	addrs []netip.Addr
	until time.Time
}

const (
	// patience is how long a server may take to answer a question.
	patience = 1500 * time.Millisecond
	// rounds is how often all servers are asked.
	rounds = 2
	// maxTTL bounds how long an answer is good for: a boot outlives no server's
	// move, and asks no server twice for one.
	maxTTL = time.Minute
)

// ErrNoServer says that there is nobody to ask.
var ErrNoServer = errors.New("the lease names no DNS server")

var errSilent = errors.New("no answer")

// errLame says that a server only refers to others, which is no answer.
var errLame = errors.New("the server refers to others")

// ErrNotFound says that there is no such name, or none with such an address.
var ErrNotFound = errors.New("no such host")

// Lookup returns a name's addresses of one family.
func (r *Resolver) Lookup(ctx context.Context, name string, six bool) ([]netip.Addr, error) {
	q := question{typ: typeA}
	if six {
		q.typ = typeAAAA
	}
	var none, failed error // the first of each
	candidates := r.candidates(name)
	for i, candidate := range candidates {
		q.name = candidate
		addrs, err := r.ask(ctx, q)
		switch {
		case err == nil:
			return addrs, nil
		case refused(err): // for this name: it may be of a domain that is broken
			if failed == nil {
				failed = err
			}
		case !errors.Is(err, ErrNotFound):
			return nil, err
		case none == nil:
			none = err
		}
		if i+1 < len(candidates) && r.exists(ctx, q.other()) {
			break // in the other family; another name would be another host's
		}
	}
	if failed != nil {
		return nil, failed
	}
	return nil, none
}

// other is the question for the other family.
func (q question) other() question {
	q.typ = typeA + typeAAAA - q.typ
	return q
}

// existsPatience is how long servers may take to say whether a name exists, on
// which nothing but the order of names depends.
const existsPatience = 250 * time.Millisecond

// exists reports whether a question has an answer.
func (r *Resolver) exists(ctx context.Context, q question) bool {
	ctx, cancel := context.WithTimeout(ctx, existsPatience)
	defer cancel()
	addrs, err := r.ask(ctx, q)
	return err == nil && len(addrs) > 0
}

// refused reports whether servers are there and do not answer a question.
func refused(err error) bool {
	return errors.As(err, new(codeError)) || errors.Is(err, errLame)
}

// candidates are the names that a name may stand for, in order: one with a dot
// is first taken as it is (ndots:1), one with a dot at the end not otherwise.
func (r *Resolver) candidates(name string) []string {
	name = strings.ToLower(name)
	if whole, ok := strings.CutSuffix(name, "."); ok {
		return []string{whole}
	}
	var out []string
	for _, s := range r.Search() {
		out = append(out, name+"."+strings.ToLower(strings.TrimSuffix(s, ".")))
	}
	if strings.Contains(name, ".") {
		return append([]string{name}, out...)
	}
	return append(out, name)
}

// ask asks the servers one by one until one of them knows.
func (r *Resolver) ask(ctx context.Context, q question) ([]netip.Addr, error) {
	r.mu.Lock()
	known, ok := r.cache[q]
	turn := r.turn
	r.mu.Unlock()
	if ok && time.Now().Before(known.until) {
		return known.addrs, nil
	}
	servers := r.Servers()
	if len(servers) == 0 {
		return nil, ErrNoServer
	}
	var last error
	for n := range rounds * len(servers) {
		server := servers[(turn+n)%len(servers)]
		addrs, ttl, err := r.askOne(ctx, server, q, n < len(servers))
		if err == nil {
			r.store(q, answer{addrs, time.Now().Add(min(ttl, maxTTL))})
			return addrs, nil
		}
		if errors.Is(err, ErrNotFound) || ctx.Err() != nil {
			return nil, err
		}
		last = fmt.Errorf("%s: %w", server, err)
		if refused(err) {
			continue // it is there, and may know other names
		}
		r.mu.Lock()
		if r.turn == turn+n {
			r.turn++
		}
		r.mu.Unlock()
	}
	return nil, last
}

// store keeps an answer for as long as it is good.
func (r *Resolver) store(q question, a answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cache == nil {
		r.cache = map[question]answer{}
	}
	r.cache[q] = a
}

// codeError is an answer that says why there is none.
type codeError int

func (e codeError) Error() string { return fmt.Sprintf("the server answers with code %d", int(e)) }

// askOne asks one server: with EDNS0 where edns says so, at once without it
// where the answer shows that it is not understood, and over TCP where the
// answer is too long for a datagram. Silence may be a dead server's: it is
// asked without EDNS0 when all others were asked.
func (r *Resolver) askOne(ctx context.Context, server netip.Addr, q question, edns bool) ([]netip.Addr, time.Duration, error) {
	r.mu.Lock()
	edns = edns && !r.plain[server]
	r.mu.Unlock()
	m, err := r.exchange(ctx, "udp", server, q, edns)
	if edns && ctx.Err() == nil && !errors.Is(err, errSilent) && (err != nil || m.complains() || m.rcode == rcodeBadVersion) {
		edns = false
		m, err = r.exchange(ctx, "udp", server, q, false)
	}
	if !edns && err == nil && !m.complains() {
		r.notePlain(server)
	}
	if err == nil && m.truncated {
		m, err = r.exchange(ctx, "tcp", server, q, edns)
	}
	if err == nil {
		err = m.failure()
	}
	if err != nil {
		return nil, 0, err
	}
	return m.addrs, m.ttl, nil
}

// notePlain notes a server that does not understand EDNS0.
func (r *Resolver) notePlain(server netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.plain == nil {
		r.plain = map[netip.Addr]bool{}
	}
	r.plain[server] = true
}

// complains reports whether a server says that it did not understand.
func (m reply) complains() bool { return m.rcode == rcodeFormat || m.rcode == rcodeNotImplemented }

// failure is why a reply has no address; nil: it has.
func (m reply) failure() error {
	switch {
	case m.lame:
		return errLame
	case m.rcode == rcodeNoName || m.rcode == 0 && len(m.addrs) == 0:
		return ErrNotFound
	case m.rcode != 0:
		return codeError(m.rcode)
	}
	return nil
}

// exchange sends a question once and waits for its answer.
func (r *Resolver) exchange(ctx context.Context, network string, server netip.Addr, q question, edns bool) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := r.Dial(ctx, network, netip.AddrPortFrom(server, 53).String())
	if err != nil {
		return reply{}, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	id := newID()
	if err := send(conn, network, query(id, q, edns)); err != nil {
		return reply{}, err
	}
	for {
		b, err := receive(conn, network)
		if err != nil {
			if ctx.Err() != nil {
				return reply{}, errSilent
			}
			return reply{}, err
		}
		if m, err := parse(b, id, q); err == nil || !errors.Is(err, errOther) {
			return m, err
		}
	}
}
