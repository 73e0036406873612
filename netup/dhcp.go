package netup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
)

// requestTries is how often a REQUEST is sent before DISCOVER starts again.
const requestTries = 4

// declinePause is the time between a declined address and the next DISCOVER.
// RFC 2131 section 3.1 asks for ten seconds, against loops; those declines
// ends.
const declinePause = time.Second

// errNAK says that a server refused an address.
var errNAK = errors.New("dhcp: the server refused the address (NAK)")

// dhcp4 is one link's DHCPv4 client (RFC 2131): the messages and the order of
// them. Sockets, matching of transactions and reading are nclient4's.
type dhcp4 struct {
	port     *dhcpPort
	index    int
	name     string
	mac      net.HardwareAddr
	vendor   string
	user     string
	host     string            // option 12, when not empty
	clientID []byte            // option 61; by the MAC when nil
	amend    func(Lease) Lease // adds what the operator said
	log      *slog.Logger
	rng      *rand.Rand
	// running ends when the link's queue has surely been started. A DISCOVER
	// sent before may be lost, here or in a switch port just as young, and is
	// sent again then.
	running context.Context
	note    func(state string, sent int) // for the table of links

	guard *guard
	probe *probe // for the address last asked for; nil: none
}

// acquire returns a lease, trying for ever until ctx ends. A valid hint is an
// address this machine had on this link before: it is asked for at once
// (INIT-REBOOT). An error is the end of ctx. The second result closes the
// client.
func (c *dhcp4) acquire(ctx context.Context, hint netip.Addr) (Lease, func(), error) {
	tries := &backoff{first: time.Second, limit: 16 * time.Second, rng: c.rng}
	for {
		cl, err := c.open()
		if err == nil {
			r, err := c.converse(ctx, cl, hint)
			probe := c.probe
			return r, func() {
				cl.Close()
				probe.wait()
			}, err
		}
		c.log.Warn(fmt.Sprintf("%s: %v", c.name, err))
		if err := pause(ctx, tries.next()); err != nil {
			return Lease{}, func() {}, err
		}
	}
}

func (c *dhcp4) open() (*nclient4.Client, error) {
	conn, err := c.port.open(c.index, c.name)
	if err != nil {
		return nil, err
	}
	cl, err := nclient4.NewWithConn(conn, c.mac, nclient4.WithTimeout(time.Hour), nclient4.WithRetry(1))
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("%s: dhcp: %w", c.name, err)
	}
	return cl, nil
}

// converse runs the state machine over one socket until a lease or the end of
// ctx, which is its only error.
func (c *dhcp4) converse(ctx context.Context, cl *nclient4.Client, hint netip.Addr) (Lease, error) {
	start := time.Now()
	refused := &backoff{first: 250 * time.Millisecond, limit: 8 * time.Second, rng: c.rng}
	for round := 0; ; round++ {
		var r Lease
		var err error
		var conflict *conflictError
		if round == 0 && hint.IsValid() {
			r, err = c.reboot(ctx, cl, hint)
		} else {
			r, err = c.select4(ctx, cl, start)
		}
		switch {
		case err == nil:
			return r, nil
		case ctx.Err() != nil:
			return Lease{}, ctx.Err()
		case errors.As(err, &conflict):
			c.log.Warn(fmt.Sprintf("%s: %v, declined", c.name, err))
			if err := pause(ctx, declinePause); err != nil {
				return Lease{}, err
			}
		case errors.Is(err, errNAK):
			c.log.Warn(fmt.Sprintf("%s: %v, starting over", c.name, err))
			// The first refusal is normal after a move to another network;
			// a server that goes on refusing is not to be flooded.
			if round > 0 {
				if err := pause(ctx, refused.next()); err != nil {
					return Lease{}, err
				}
			}
		default:
			c.log.Debug(fmt.Sprintf("%s: %v, starting over", c.name, err))
		}
	}
}

// select4 is DISCOVER, OFFER, REQUEST, ACK. DISCOVER goes on for ever.
func (c *dhcp4) select4(ctx context.Context, cl *nclient4.Client, start time.Time) (Lease, error) {
	m := c.message(dhcpv4.MessageTypeDiscover)
	var offer Lease
	isOffer := func(p *dhcpv4.DHCPv4) bool {
		if p.MessageType() != dhcpv4.MessageTypeOffer {
			return false
		}
		var err error
		if offer, err = leaseFrom(p); err != nil {
			c.log.Warn(fmt.Sprintf("%s: offer ignored: %v", c.name, err))
			return false
		}
		return true
	}
	wait := retransmit(c.rng)
	for sent := 1; ; sent++ {
		c.note("discovering", sent)
		m.NumSeconds = uint16(min(time.Since(start)/time.Second, 0xffff))
		sub, cancel := context.WithCancel(ctx)
		if c.running.Err() == nil {
			context.AfterFunc(c.running, cancel)
		}
		got, err := c.exchange(sub, cl, m, wait.next(), isOffer)
		cancel()
		if err != nil && ctx.Err() == nil {
			err, wait.n = nil, 0 // sent too early
		}
		if err != nil {
			return Lease{}, err
		}
		if got != nil {
			break
		}
	}
	c.log.Debug(fmt.Sprintf("%s: dhcp: %s offers %s", c.name, offer.Server, offer.Addr))

	req := c.message(dhcpv4.MessageTypeRequest)
	// RFC 2131 section 4.4.1: the REQUEST repeats the DISCOVER's xid and secs.
	req.TransactionID, req.NumSeconds = m.TransactionID, m.NumSeconds
	req.UpdateOption(dhcpv4.OptRequestedIPAddress(offer.Addr.Addr().AsSlice()))
	req.UpdateOption(dhcpv4.OptServerIdentifier(offer.Server.AsSlice()))
	c.probe.end()
	c.probe = c.guard.lookOut(ctx, offer.Addr.Addr(), openARP)
	l, err := c.request(ctx, cl, req, "requesting", requestTries, offer.Server)
	if err == nil {
		if conflict := c.probe.conflict(); conflict != nil {
			c.decline(l)
			return Lease{}, conflict
		}
	}
	return l, err
}

// decline gives an address back to its server as another host's (RFC 2131
// section 4.4.4). Nothing answers.
func (c *dhcp4) decline(l Lease) {
	c.guard.declined++
	conn, err := c.port.open(c.index, c.name)
	if err != nil {
		c.log.Debug(fmt.Sprintf("%v", err))
		return
	}
	defer conn.Close()
	m := c.bare(dhcpv4.MessageTypeDecline)
	m.UpdateOption(dhcpv4.OptRequestedIPAddress(l.Addr.Addr().AsSlice()))
	m.UpdateOption(dhcpv4.OptServerIdentifier(l.Server.AsSlice()))
	c.log.Debug(fmt.Sprintf("%s: dhcp: send %s", c.name, m.MessageType()))
	if _, err := conn.WriteTo(m.ToBytes(), nclient4.DefaultServers); err != nil {
		c.log.Debug(fmt.Sprintf("%s: dhcp: %v", c.name, err))
	}
}

// reboot asks any server whether a known address still holds (INIT-REBOOT).
func (c *dhcp4) reboot(ctx context.Context, cl *nclient4.Client, addr netip.Addr) (Lease, error) {
	req := c.message(dhcpv4.MessageTypeRequest)
	req.UpdateOption(dhcpv4.OptRequestedIPAddress(addr.AsSlice()))
	return c.request(ctx, cl, req, "rebooting", 2, netip.Addr{})
}

// request sends a REQUEST up to tries times and waits for ACK or NAK, from
// server only when that is valid.
func (c *dhcp4) request(ctx context.Context, cl *nclient4.Client, req *dhcpv4.DHCPv4, state string, tries int, server netip.Addr) (Lease, error) {
	wait := retransmit(c.rng)
	for sent := 1; sent <= tries; sent++ {
		c.note(state, sent)
		at := time.Now()
		got, err := c.exchange(ctx, cl, req, wait.next(), c.isVerdict(server))
		if err != nil {
			return Lease{}, err
		}
		if got != nil {
			return c.verdict(got, at)
		}
	}
	return Lease{}, fmt.Errorf("dhcp: no answer to %d requests", tries)
}

// isVerdict matches an ACK that makes a lease and a NAK.
func (c *dhcp4) isVerdict(server netip.Addr) nclient4.Matcher {
	return func(p *dhcpv4.DHCPv4) bool {
		if id, ok := addr4(p.ServerIdentifier()); server.IsValid() && (!ok || id != server) {
			return false
		}
		switch p.MessageType() {
		case dhcpv4.MessageTypeNak:
			return true
		case dhcpv4.MessageTypeAck:
			if _, err := leaseFrom(p); err != nil {
				c.log.Warn(fmt.Sprintf("%s: ack ignored: %v", c.name, err))
				return false
			}
			return true
		}
		return false
	}
}

func (c *dhcp4) verdict(p *dhcpv4.DHCPv4, sent time.Time) (Lease, error) {
	if p.MessageType() == dhcpv4.MessageTypeNak {
		if s := text(p.Message()); s != "" {
			return Lease{}, fmt.Errorf("%w: %s", errNAK, s)
		}
		return Lease{}, errNAK
	}
	l, err := leaseFrom(p)
	if err != nil {
		return Lease{}, err
	}
	l.Link, l.Index, l.MAC, l.Acquired = c.name, c.index, c.mac, sent
	return c.amend(l), nil
}

// exchange sends m and waits for a match; nil without an error means that
// time ran out.
func (c *dhcp4) exchange(ctx context.Context, cl *nclient4.Client, m *dhcpv4.DHCPv4, wait time.Duration, match nclient4.Matcher) (*dhcpv4.DHCPv4, error) {
	sub, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	c.log.Debug(fmt.Sprintf("%s: dhcp: send %s, wait %s", c.name, m.MessageType(), wait.Round(time.Millisecond)))
	got, err := cl.SendAndRead(sub, cl.RemoteAddr(), m, match)
	if err == nil {
		return got, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	// A write can fail while the link is on its way up or down; the time of
	// this transmission is waited for all the same.
	if sub.Err() == nil {
		c.log.Debug(fmt.Sprintf("%s: dhcp: %v", c.name, err))
		<-sub.Done()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return nil, nil
}
