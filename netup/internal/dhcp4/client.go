// Package dhcp4 is a DHCPv4 client (RFC 2131) for links whose addresses are
// somebody else's to set.
package dhcp4

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"

	"netstage/netup/internal/acd"
	"netstage/netup/internal/retry"
	"netstage/netup/lease"
)

// requestTries is how often a REQUEST is sent before DISCOVER starts again.
const requestTries = 4

// DeclinePause is the time between a declined address and the next DISCOVER.
// RFC 2131 section 3.1 asks for ten seconds, against loops; those declines
// ends.
const DeclinePause = time.Second

// errNAK says that a server refused an address.
var errNAK = errors.New("dhcp: the server refused the address (NAK)")

// Client is one link's DHCPv4 client: the messages and the order of them.
// Sockets, matching of transactions and reading are nclient4's.
type Client struct {
	Port     *Port
	Index    int
	Name     string
	MAC      net.HardwareAddr
	Vendor   string                        // option 60
	User     string                        // option 77, when not empty
	Host     string                        // option 12, when not empty
	ClientID []byte                        // option 61; by the MAC when nil
	Amend    func(lease.Lease) lease.Lease // adds what the operator said
	Log      *slog.Logger                  // the link's
	Rand     *rand.Rand
	// Running ends when the link's queue has surely been started. A DISCOVER
	// sent before may be lost, here or in a switch port just as young, and is
	// sent again then.
	Running context.Context
	Note    func(state string, sent int) // for the table of links
	ACD     *acd.Detector
	// Rejected is told why a server's reply is of no use; may be nil.
	Rejected func(why string)
	BOOTP    bool // ask as BOOTP does, too (RFC 951)

	// tried are servers whose leases led nowhere or whose offers did not become
	// one, the last one last: theirs are not taken while there may be others.
	tried []netip.Addr

	toldMu sync.Mutex
	told   map[netip.Addr][]string // what was told of a server's messages
	probe  *acd.Probe              // for the address last asked for; nil: none
}

// Acquire returns a lease, trying for ever until ctx ends. A valid hint is an
// address this machine had on this link before: it is asked for at once
// (INIT-REBOOT). An error is the end of ctx. The second result closes the
// client.
func (c *Client) Acquire(ctx context.Context, hint netip.Addr) (lease.Lease, func(), error) {
	tries := retry.New(time.Second, 16*time.Second, c.Rand)
	for {
		cl, err := c.open()
		if err == nil {
			r, err := c.converse(ctx, cl, hint)
			probe := c.probe
			return r, func() {
				cl.Close()
				probe.Wait()
			}, err
		}
		c.Log.Warn(err.Error())
		if err := retry.Pause(ctx, tries.Next()); err != nil {
			return lease.Lease{}, func() {}, err
		}
	}
}

// open opens the link's share of the port.
func (c *Client) open() (*nclient4.Client, error) {
	conn, err := c.Port.Open(c.Index, c.passedOver)
	if err != nil {
		return nil, err
	}
	cl, err := nclient4.NewWithConn(conn, c.MAC, nclient4.WithTimeout(time.Hour), nclient4.WithRetry(1))
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("dhcp: %w", err)
	}
	return cl, nil
}

// converse runs the state machine over one socket until a lease or the end of
// ctx, which is its only error.
func (c *Client) converse(ctx context.Context, cl *nclient4.Client, hint netip.Addr) (lease.Lease, error) {
	start := time.Now()
	refused := retry.New(250*time.Millisecond, 8*time.Second, c.Rand)
	failed := 0 // conversations in a row
	for round := 0; ; round++ {
		var r lease.Lease
		var err error
		var conflict *acd.ConflictError
		if round == 0 && hint.IsValid() {
			r, err = c.reboot(ctx, cl, hint)
		} else {
			patience := time.Duration(0)
			if len(c.tried) > 0 { // the more it went wrong, the longer others are waited for
				patience = min(time.Duration(failed)*time.Second, otherPatience)
			}
			r, err = c.select4(ctx, cl, start, patience)
		}
		switch {
		case err == nil:
			return r, nil
		case ctx.Err() != nil:
			return lease.Lease{}, ctx.Err()
		case errors.Is(err, errNoOffer):
			c.tried = c.tried[1:]
			continue
		case errors.As(err, &conflict):
			c.Log.Warn(err.Error() + ", declined")
			if err := retry.Pause(ctx, DeclinePause); err != nil {
				return lease.Lease{}, err
			}
		case errors.Is(err, errNAK):
			c.Log.Warn(err.Error() + ", starting over")
			// The first refusal is normal after a move to another network;
			// a server that goes on refusing is not to be flooded.
			if round > 0 {
				if err := retry.Pause(ctx, refused.Next()); err != nil {
					return lease.Lease{}, err
				}
			}
		case len(c.tried) > 0:
			c.Log.Warn(err.Error() + ", starting over")
		default:
			c.Log.Debug(err.Error() + ", starting over")
		}
		failed++
	}
}

// select4 is DISCOVER, OFFER, REQUEST, ACK. A server that does not keep to its
// offer is not asked again while there may be others.
func (c *Client) select4(ctx context.Context, cl *nclient4.Client, start time.Time, patience time.Duration) (lease.Lease, error) {
	offer, m, err := c.discover(ctx, cl, start, patience)
	if err != nil || offer.Source == "bootp" {
		return offer, err
	}
	l, err := c.requestOffer(ctx, cl, offer, m)
	if err != nil && ctx.Err() == nil && !errors.As(err, new(*acd.ConflictError)) {
		c.avoid(offer.Server)
		err = fmt.Errorf("%w, after %s had offered %s", err, offer.Server, offer.Addr)
	}
	return l, err
}

// discover is DISCOVER and OFFER; it returns both. It goes on for ever, or
// until patience is over, where that is not 0.
func (c *Client) discover(ctx context.Context, cl *nclient4.Client, start time.Time, patience time.Duration) (lease.Lease, *dhcpv4.DHCPv4, error) {
	m := c.newQuery(dhcpv4.MessageTypeDiscover)
	begun := time.Now()
	var offer lease.Lease
	isOffer := func(p *dhcpv4.DHCPv4) bool {
		switch p.MessageType() {
		case dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeNone:
		default:
			return false
		}
		var err error
		if offer, err = Parse(p); err != nil {
			c.reject("offer", err)
			return false
		}
		if slices.Contains(c.tried, offer.Server) {
			return false
		}
		c.passedOver(offer.Server, malformed(p))
		return true
	}
	wait := retry.Retransmit(c.Rand)
	for sent := 1; ; sent++ {
		left := wait.Next()
		if patience > 0 {
			if left = min(left, patience-time.Since(begun)); left <= 0 {
				return lease.Lease{}, nil, errNoOffer
			}
		}
		c.Note("discovering", sent)
		m.NumSeconds = uint16(min(time.Since(start)/time.Second, 0xffff))
		sub, cancel := context.WithCancel(ctx)
		if c.Running.Err() == nil {
			context.AfterFunc(c.Running, cancel)
		}
		q := m
		if c.BOOTP && sent%2 == 1 {
			q = c.asBOOTP(m)
		}
		got, err := c.exchange(sub, cl, q, left, isOffer)
		cancel()
		if err != nil && ctx.Err() == nil {
			err = nil
			wait.Reset() // sent too early
		}
		if err != nil {
			return lease.Lease{}, nil, err
		}
		if got != nil {
			break
		}
	}
	if offer.Source == "bootp" { // there is nothing to request
		offer.Link, offer.Index, offer.MAC, offer.Acquired = c.Name, c.Index, c.MAC, time.Now()
		return c.Amend(offer), nil, nil
	}
	return offer, m, nil
}

// requestOffer is REQUEST and ACK, after the DISCOVER m.
func (c *Client) requestOffer(ctx context.Context, cl *nclient4.Client, offer lease.Lease, m *dhcpv4.DHCPv4) (lease.Lease, error) {
	c.Log.Debug(fmt.Sprintf("dhcp: %s offers %s", offer.Server, offer.Addr))

	req := c.newQuery(dhcpv4.MessageTypeRequest)
	// RFC 2131 section 4.4.1: the REQUEST repeats the DISCOVER's xid and secs.
	req.TransactionID, req.NumSeconds = m.TransactionID, m.NumSeconds
	req.UpdateOption(dhcpv4.OptRequestedIPAddress(offer.Addr.Addr().AsSlice()))
	req.UpdateOption(dhcpv4.OptServerIdentifier(offer.Server.AsSlice()))
	c.probe.End()
	c.probe = c.ACD.Start(ctx, offer.Addr.Addr(), acd.ARP)
	l, err := c.request(ctx, cl, req, "requesting", requestTries, offer.Server)
	if err == nil {
		if conflict := c.probe.Conflict(); conflict != nil {
			c.decline(l)
			return lease.Lease{}, conflict
		}
	}
	return l, err
}
