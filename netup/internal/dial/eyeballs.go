package dial

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"time"
)

// attempts is one connection to a name: look-ups of both families beside each
// other, and connections to what they find, each a little after the one before
// (RFC 8305).
type attempts struct {
	d       *Dialer
	network string
	port    string
	found   chan found
	made    chan made

	lookups int // that go on
	running int // connections on their way
	dials   int // begun in all
	queue   []netip.Addr

	lookupErr, dialErr error // the first of each
}

// found is what a look-up returned.
type found struct {
	six   bool
	addrs []netip.Addr
	err   error
}

// made is what became of a connection.
type made struct {
	conn net.Conn
	err  error
}

// run returns the first connection. All it started is over when it returns, or
// closes what it still makes by itself.
func (r *attempts) run(ctx context.Context, host string) (net.Conn, error) {
	r.startLookups(ctx, host)
	defer r.drain()
	next := time.NewTimer(time.Hour)
	defer next.Stop()
	for {
		select {
		case <-next.C:
			r.start(ctx)
		case f := <-r.found:
			if r.lookedUp(f) {
				next.Reset(resolutionDelay)
				continue
			}
			if r.running == 0 {
				r.start(ctx)
			}
		case m := <-r.made:
			r.running--
			if m.err == nil {
				return m.conn, nil
			}
			r.dialErr = cmp.Or(r.dialErr, m.err)
			r.start(ctx)
		}
		switch {
		case r.running > 0 && len(r.queue) > 0:
			next.Reset(attemptDelay)
		case r.running == 0 && len(r.queue) == 0 && r.lookups == 0:
			return nil, cmp.Or(r.dialErr, r.lookupErr)
		}
	}
}

// startLookups looks a name up in the families that the dialer has.
func (r *attempts) startLookups(ctx context.Context, host string) {
	for _, six := range []bool{true, false} {
		if six && !r.d.six || !six && !r.d.four {
			continue
		}
		r.lookups++
		go func() {
			addrs, err := r.d.dns.Lookup(ctx, host, six)
			r.found <- found{six, addrs, err}
		}()
	}
}

// lookedUp takes a look-up's result. True says to wait for the sixth family's,
// as that comes first.
func (r *attempts) lookedUp(f found) bool {
	r.lookups--
	r.lookupErr = cmp.Or(r.lookupErr, f.err)
	r.add(f)
	return len(r.queue) > 0 && r.dials == 0 && !f.six && r.lookups > 0
}

// add puts addresses behind those that wait, in turns with the other family's.
func (r *attempts) add(f found) {
	if !f.six {
		r.queue = append(r.queue, f.addrs...)
		return
	}
	var out []netip.Addr
	for i := range max(len(f.addrs), len(r.queue)) {
		if i < len(f.addrs) {
			out = append(out, f.addrs[i])
		}
		if i < len(r.queue) {
			out = append(out, r.queue[i])
		}
	}
	r.queue = out
}

// start begins the next connection, if there is an address left.
func (r *attempts) start(ctx context.Context) {
	if len(r.queue) == 0 {
		return
	}
	a := r.queue[0]
	r.queue = r.queue[1:]
	r.running++
	r.dials++
	go func() {
		c, err := r.d.net.DialContext(ctx, r.network, net.JoinHostPort(a.String(), r.port))
		r.made <- made{c, err}
	}()
}

// drain waits, beside, for what is still on its way, and closes it.
func (r *attempts) drain() {
	if r.running == 0 {
		return
	}
	go func(running int) {
		for range running {
			if m := <-r.made; m.conn != nil {
				m.conn.Close()
			}
		}
	}(r.running)
}
