package netup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"
)

const (
	// probeEvery and probeFor say how a leased address is looked for on its link:
	// not before it is used, which would cost a boot a second or two (RFC 5227,
	// RFC 4862), but beside. Another host mostly answers while the DHCP server does.
	probeEvery = 250 * time.Millisecond
	probeFor   = 700 * time.Millisecond
	// declines is how often an address is declined in a row. Where all are
	// answered for, as by a router with proxy ARP, the next one is taken.
	declines = 2
)

// conflictError says that another host has an address.
type conflictError struct {
	addr netip.Addr
	mac  net.HardwareAddr
}

func (e *conflictError) Error() string {
	return fmt.Sprintf("%s already has the address %s", e.mac, e.addr)
}

// probe looks for another host with an address, beside all else.
type probe struct {
	found chan *conflictError // holds the first
	done  chan struct{}       // closed when it is over
	stop  context.CancelFunc
}

// guard is a link's look-out for other hosts with its leased addresses of one
// family.
type guard struct {
	index    int
	name     string
	mac      net.HardwareAddr
	log      *slog.Logger
	declined int // addresses in a row
}

// lookOut looks for another host with an address while that is asked for. It
// returns nil where too many were another host's.
func (g *guard) lookOut(ctx context.Context, addr netip.Addr, open func(int, net.HardwareAddr, netip.Addr) (prober, error)) *probe {
	if g.declined >= declines {
		g.declined = 0
		g.log.Warn(fmt.Sprintf("%s: %d addresses in a row were other hosts', %s is taken without asking", g.name, declines, addr))
		return nil
	}
	return startProbe(ctx, g, addr, open)
}

// prober asks a link who has an address. It is for one goroutine, but for
// SetReadDeadline.
type prober interface {
	ask() error
	// answer waits for a packet. It returns the hardware address of who says in
	// it to have the address, nil when nobody does.
	answer() (net.HardwareAddr, error)
	SetReadDeadline(time.Time) error
	Close() error
}

// startProbe asks a link who has an address. It goes on until it has found
// somebody, its time is over or ctx ends.
func startProbe(ctx context.Context, g *guard, addr netip.Addr, open func(int, net.HardwareAddr, netip.Addr) (prober, error)) *probe {
	p := &probe{found: make(chan *conflictError, 1), done: make(chan struct{})}
	ctx, p.stop = context.WithTimeout(ctx, probeFor)
	f, err := open(g.index, g.mac, addr)
	if err != nil {
		g.log.Debug(fmt.Sprintf("%s: no look-out for %s: %v", g.name, addr, err))
		p.stop()
		close(p.done)
		return p
	}
	send := func() {
		if err := f.ask(); err != nil {
			g.log.Debug(fmt.Sprintf("%s: look-out for %s: %v", g.name, addr, err))
		}
	}
	g.log.Debug(fmt.Sprintf("%s: look-out for another host with %s", g.name, addr))
	send()
	go func() {
		defer close(p.done)
		defer f.Close()
		defer p.stop()
		stop := context.AfterFunc(ctx, func() { f.SetReadDeadline(time.Unix(1, 0)) })
		defer stop()
		again := time.Now().Add(probeEvery)
		for {
			f.SetReadDeadline(again)
			if ctx.Err() != nil {
				return
			}
			other, err := f.answer()
			switch {
			case ctx.Err() != nil:
				return
			case errors.Is(err, os.ErrDeadlineExceeded):
				again = again.Add(probeEvery)
				send()
			case err != nil:
				return
			default:
				if other != nil && !slices.Equal(other, g.mac) && !ours(other) {
					p.found <- &conflictError{addr, other}
					return
				}
			}
		}
	}()
	return p
}

// conflict is what was found so far; nil is nobody, also of a nil probe.
func (p *probe) conflict() *conflictError {
	if p == nil {
		return nil
	}
	select {
	case c := <-p.found:
		return c
	default:
		return nil
	}
}

// over is closed when a probe is over; nil of a nil probe.
func (p *probe) over() <-chan struct{} {
	if p == nil {
		return nil
	}
	return p.done
}

// wait waits for the end of a probe, which may be nil.
func (p *probe) wait() {
	if p != nil {
		<-p.done
	}
}

// end stops a probe, which may be nil, and waits for it.
func (p *probe) end() {
	if p != nil {
		p.stop()
		<-p.done
	}
}

// ours reports whether a hardware address is of this machine: another card on
// the same switch answers for addresses of this one.
func ours(mac net.HardwareAddr) bool {
	nics, err := net.Interfaces()
	return err == nil && slices.ContainsFunc(nics, func(n net.Interface) bool { return slices.Equal(n.HardwareAddr, mac) })
}
