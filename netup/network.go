package netup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
)

// Network is the network once it is up: one link with a proven lease, which is
// renewed until Down or Close.
type Network struct {
	opts     Options
	plan     plan
	kernel   kernel
	dhcp     dhcpPort
	quieted  sysctls // while several links race
	resolver *net.Resolver
	log      *slog.Logger
	cancel   context.CancelFunc
	wg       sync.WaitGroup // the race and all it started

	started   time.Time
	stackedOn map[int]bool // links that carry VLANs or bonds and do not race; the race's
	stacking  sync.Mutex

	won     chan struct{}     // closed when winner is set
	settled chan struct{}     // closed when the losers' addresses are gone
	noNIC   chan struct{}     // closed when no link showed up in time
	ready   chan netlink.Link // links just set up

	mu       sync.Mutex
	links    map[int]*link
	ignored  map[int]string // links left out by the operator's words
	winner   *link
	family   family  // of the lease by which it won
	proofs   []proof // failed ones, newest last, bounded
	proofErr error
}

// Up brings the network up and returns when a lease has won. All links race
// for ever; the end of ctx, or a machine without any link, ends it with an
// *Error. The links are then left as they are, for a second Up or a look.
// ctx has no bearing on the Network once Up has returned.
func Up(ctx context.Context, opts Options) (*Network, error) {
	opts = opts.withDefaults()
	plan := plan{opts.Config}
	plan.consult(opts.Log, opts.Sysfs)
	if err := plan.check(); err != nil {
		return nil, err
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	n := &Network{
		opts: opts, plan: plan, kernel: newKernel(opts.Log), log: opts.Log, cancel: cancel, started: time.Now(),
		won: make(chan struct{}), settled: make(chan struct{}), noNIC: make(chan struct{}),
		ready:     make(chan netlink.Link),
		stackedOn: map[int]bool{}, links: map[int]*link{}, ignored: map[int]string{},
	}
	n.resolver = resolver(func() []netip.Addr { return n.Lease().DNS }, "")
	n.wg.Go(func() { n.race(run) })
	var cause error
	select {
	case <-n.settled:
		return n, nil
	case <-n.noNIC:
		cause = fmt.Errorf("no network card after %s", opts.NoNICTimeout)
	case <-ctx.Done():
		cause = context.Cause(ctx)
	}
	err := n.failure(cause)
	n.Close()
	return nil, err
}

// Lease returns the winning lease as it now stands, with what the other address
// family's lease of the link knows of names and files; renewals change it.
func (n *Network) Lease() Lease {
	leases := n.leases()
	switch len(leases) {
	case 0:
		return Lease{}
	case 1:
		return leases[0]
	}
	return leases[0].joinedBy(&leases[1])
}

// leases are those of the winning link: the one that won, where it still
// stands, then the one of the other family.
func (n *Network) leases() []Lease {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.winner == nil {
		return nil
	}
	var out []Lease
	for _, f := range []family{n.family, n.family.other()} {
		if l := n.winner.ways[f].lease; l != nil {
			out = append(out, *l)
		}
	}
	return out
}

// Close stops renewing and watching and leaves the link configured, with the
// kernel's own settings for IPv6.
func (n *Network) Close() error {
	n.stop()
	if n.winner != nil {
		n.winner.kept6.restore(n.log)
	}
	n.kernel.Close()
	return nil
}

// Down removes addresses and routes from every link that took part and sets it
// down, as NixOS leaves links to stage 2 (nixpkgs#63941).
func (n *Network) Down(ctx context.Context) error {
	n.stop()
	defer n.kernel.Close()
	var errs []error
	for _, l := range n.links { // nothing else runs any more
		if err := ctx.Err(); err != nil {
			return errors.Join(append(errs, fmt.Errorf("network down: %w", err))...)
		}
		n.mu.Lock()
		done := l.down
		n.mu.Unlock()
		if !done {
			errs = append(errs, n.release(l))
		}
	}
	errs = append(errs, n.unstack())
	return errors.Join(errs...)
}

func (n *Network) stop() {
	n.cancel()
	n.wg.Wait()
	n.dhcp.wait()
}

// win makes l the winner by a family's lease, unless another link was faster.
func (n *Network) win(l *link, f family) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.winner != nil || l.ways[f].lease == nil {
		return n.winner == l
	}
	n.winner, n.family, l.fault = l, f, ""
	close(n.won)
	return true
}
