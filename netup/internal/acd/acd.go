// Package acd looks for other hosts with an address that is about to be used
// (RFC 5227 for IPv4; for IPv6 by neighbour discovery, RFC 4861 section 7.2).
package acd

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
	// probeEvery and probeFor say how a leased address is looked for on its
	// link: not before it is used, which would cost a boot a second or two (RFC
	// 5227, RFC 4862), but beside. Another host mostly answers while the DHCP
	// server does.
	probeEvery = 250 * time.Millisecond
	probeFor   = 700 * time.Millisecond
	// maxDeclined is how often an address is declined in a row. Where all are
	// answered for, as by a router with proxy ARP, the next one is taken.
	maxDeclined = 2
)

// ConflictError says that another host has an address.
type ConflictError struct {
	Addr netip.Addr
	MAC  net.HardwareAddr
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s already has the address %s", e.MAC, e.Addr)
}

// Detector detects conflicts over a link's leased addresses of one family.
type Detector struct {
	Index int
	MAC   net.HardwareAddr
	Log   *slog.Logger // the link's

	declined int // addresses in a row
}

// Declined counts an address that was declined.
func (d *Detector) Declined() { d.declined++ }

// Confirm says that an address turned out to be nobody else's.
func (d *Detector) Confirm() { d.declined = 0 }

// Probe looks for another host with an address, beside all else.
type Probe struct {
	found chan *ConflictError // holds the first
	done  chan struct{}       // closed when it is over
	stop  context.CancelFunc
}

// Prober asks a link who has an address. It is for one goroutine, but for
// SetReadDeadline.
type Prober interface {
	ask() error
	// answer waits for a packet. It returns the hardware address of who says in
	// it to have the address, nil when nobody does.
	answer() (net.HardwareAddr, error)
	SetReadDeadline(time.Time) error
	Close() error
}

// Open opens what asks a link about an address: ARP or ND.
type Open func(index int, mac net.HardwareAddr, addr netip.Addr) (Prober, error)

// Start looks for another host with an address while that is asked for. It
// goes on until it has found somebody, its time is over or ctx ends. Start
// returns nil where too many addresses were another host's.
func (d *Detector) Start(ctx context.Context, addr netip.Addr, open Open) *Probe {
	if d.declined >= maxDeclined {
		d.declined = 0
		d.Log.Warn(fmt.Sprintf("%d addresses in a row were other hosts', %s is taken without asking", maxDeclined, addr))
		return nil
	}
	p := &Probe{found: make(chan *ConflictError, 1), done: make(chan struct{})}
	ctx, p.stop = context.WithTimeout(ctx, probeFor)
	f, err := open(d.Index, d.MAC, addr)
	if err != nil {
		d.Log.Debug("acd: no probe for "+addr.String(), "err", err)
		p.stop()
		close(p.done)
		return p
	}
	send := func() {
		if err := f.ask(); err != nil {
			d.Log.Debug("acd: probe for "+addr.String(), "err", err)
		}
	}
	d.Log.Debug("acd: probe for another host with " + addr.String())
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
				if other != nil && !slices.Equal(other, d.MAC) && !ours(other) {
					p.found <- &ConflictError{addr, other}
					return
				}
			}
		}
	}()
	return p
}

// Conflict is what was found so far; nil is nobody, also of a nil probe.
func (p *Probe) Conflict() *ConflictError {
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

// Done is closed when a probe is over; nil of a nil probe.
func (p *Probe) Done() <-chan struct{} {
	if p == nil {
		return nil
	}
	return p.done
}

// Wait waits for the end of a probe, which may be nil.
func (p *Probe) Wait() {
	if p != nil {
		<-p.done
	}
}

// End stops a probe, which may be nil, and waits for it.
func (p *Probe) End() {
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
