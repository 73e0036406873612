package netup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"netstage/netup/internal/dhcp4"
	"netstage/netup/internal/dial"
	"netstage/netup/internal/plan"
	"netstage/netup/internal/rtnl"
	"netstage/netup/lease"
)

// Network is the network once it is up: one link with a proven lease, which is
// renewed until Down or Close.
type Network struct {
	opts    Options
	plan    plan.Plan
	kernel  rtnl.Conn
	dhcp    dhcp4.Port
	arpFlux rtnl.Sysctls // what links had before several raced
	dialer  *dial.Dialer
	log     *slog.Logger // of what is no link's
	cancel  context.CancelFunc
	wg      sync.WaitGroup // the race and all it started

	board   *board
	stack   *stack
	opener  *opener
	started time.Time
	anyCard bool // BOOTIF= was given up; the race's

	settled chan struct{} // closed when the losers' addresses are gone
	noNIC   chan struct{} // closed when no link showed up in time
}

// Up brings the network up and returns when a lease has won. All links race
// for ever; the end of ctx, or a machine without any link, ends it with an
// *Error. The links are then left as they are, for a second Up or a look.
// ctx has no bearing on the Network once Up has returned.
func Up(ctx context.Context, opts Options) (*Network, error) {
	opts = opts.withDefaults()
	fixed := plan.Plan{Config: opts.Config, Sysfs: opts.Sysfs}
	log := opts.Log.With("what", "network")
	for _, note := range opts.Config.Notes {
		log.Warn(note)
	}
	fixed.ApplyIBFT(log, opts.Sysfs)
	if err := fixed.Check(); err != nil {
		return nil, &Error{fault: err}
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	n := &Network{
		opts: opts, plan: fixed, kernel: rtnl.Open(log), log: log, cancel: cancel, started: time.Now(),
		board: newBoard(opts.Sysfs), settled: make(chan struct{}), noNIC: make(chan struct{}),
	}
	n.stack = &stack{plan: fixed, kernel: n.kernel, log: opts.Log, lower: map[int]bool{}}
	n.opener = newOpener(n)
	n.dialer = dial.New("", n.Lease)
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
func (n *Network) Lease() lease.Lease {
	leases := n.board.leases()
	switch len(leases) {
	case 0:
		return lease.Lease{}
	case 1:
		return leases[0]
	}
	return leases[0].JoinedBy(&leases[1])
}

// Close stops renewing and watching and leaves the link configured, with the
// kernel's own settings for IPv6.
func (n *Network) Close() error {
	n.stop()
	if n.board.winner != nil {
		n.board.winner.autoconf.Restore(n.board.winner.log)
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
	for _, l := range n.board.links { // nothing else runs any more
		if err := ctx.Err(); err != nil {
			return errors.Join(append(errs, fmt.Errorf("network down: %w", err))...)
		}
		n.board.mu.Lock()
		done := l.down
		n.board.mu.Unlock()
		if done {
			continue
		}
		if err := n.release(l); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", l.name, err))
		}
	}
	errs = append(errs, n.stack.remove())
	return errors.Join(errs...)
}

// stop ends all that was started, and waits for it.
func (n *Network) stop() {
	n.cancel()
	n.wg.Wait()
	n.dhcp.Wait()
}

// ResolvConf is the text of a resolv.conf for the winning lease.
func (n *Network) ResolvConf() []byte { return n.Lease().ResolvConf() }
