package dhcp6

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"netstage/netup/internal/acd"
	"netstage/netup/internal/retry"
	"netstage/netup/internal/sock"
)

// requestTries is how often a REQUEST is sent before SOLICIT starts again.
const requestTries = 4

// Client is one link's DHCPv6 client. It is less patient than the RFC has it,
// as the client for IPv4 is: no delay before the first message, short first
// waiting times, and the first server that offers an address is taken.
type Client struct {
	Name string
	MAC  net.HardwareAddr
	User string       // option 15, when not empty
	Host string       // option 39, when not empty
	Log  *slog.Logger // the link's
	Rand *rand.Rand
	// Running ends when the link's queue has surely been started: what was sent
	// before may be lost, and is sent again then.
	Running context.Context
	Note    func(state string, sent int) // for the table of links
	ACD     *acd.Detector
	Life    context.Context // of a probe, which outlives the conversation that it belongs to

	// Rejected is told why a server's reply is of no use; may be nil.
	Rejected func(why string)

	probe *acd.Probe // for the address last given; nil: none
	// tried are the DUIDs of servers whose addresses led nowhere or whose offers
	// did not become one, the last one last.
	tried [][]byte
	told  []string // of what is of no use in a server's messages
}

// Answer is what a server said, and when it was asked.
type Answer struct {
	Reply
	At   time.Time
	From netip.Addr
}

// Probe looks for other hosts with the address last given; nil: none.
func (c *Client) Probe() *acd.Probe { return c.probe }

// Confirm says that the address last given is nobody else's.
func (c *Client) Confirm() {
	c.probe = nil
	c.ACD.Confirm()
}

// listen opens the client's socket on the link.
func (c *Client) listen(ctx context.Context) (net.PacketConn, error) {
	lc := net.ListenConfig{Control: sock.Shared(c.Name)}
	conn, err := lc.ListenPacket(ctx, "udp6", fmt.Sprintf("[::]:%d", ClientPort))
	if err != nil {
		return nil, fmt.Errorf("open DHCPv6 socket: %w", err)
	}
	return conn, nil
}

// Acquire returns an address, trying for ever until ctx ends, which is its only
// error.
func (c *Client) Acquire(ctx context.Context) (Answer, error) {
	return c.untilAnswered(ctx, func(conn net.PacketConn, start time.Time) (Answer, error) {
		for len(c.tried) > 0 {
			r, err := c.converse(ctx, conn, start, otherTries)
			if !errors.Is(err, errNoOffer) {
				return r, err
			}
			c.tried = c.tried[1:]
		}
		return c.converse(ctx, conn, start, 0)
	})
}

// converse is SOLICIT, ADVERTISE, REQUEST, REPLY, with a server that was not
// tried. tries bounds the SOLICITs; 0 is for ever.
func (c *Client) converse(ctx context.Context, conn net.PacketConn, start time.Time, tries int) (Answer, error) {
	q := c.query(Solicit)
	q.Rapid = len(c.tried) == 0 // a server to be passed over is not to keep an address for it
	offer, err := c.ask(ctx, conn, start, "soliciting a DHCPv6 server", q, tries, func(r Reply) bool {
		return (r.Type == Advertise || r.Rapid) && r.Addr.IsValid() && !c.wasTried(r.Server)
	})
	switch {
	case err != nil && ctx.Err() == nil && tries > 0:
		return offer, fmt.Errorf("%w: %w", errNoOffer, err)
	case err != nil:
		return offer, err
	}
	c.probe.End()
	c.probe = c.ACD.Start(c.Life, offer.Addr, acd.ND)
	if offer.Type == ReplyType {
		return offer, nil
	}
	c.Log.Debug(fmt.Sprintf("dhcp6: %s offers %s", offer.From, offer.Addr))
	q = c.query(Request)
	q.Server, q.Addr = offer.Server, offer.Addr
	r, err := c.ask(ctx, conn, time.Now(), "requesting by DHCPv6", q, requestTries, func(r Reply) bool {
		return r.Type == ReplyType && slices.Equal(r.Server, offer.Server)
	})
	if err = refusal(r, err); err != nil {
		if ctx.Err() == nil {
			c.avoid(offer.Server)
		}
		return r, err
	}
	if conflict := c.probe.Conflict(); conflict != nil {
		c.Decline(ctx, r)
		return r, conflict
	}
	return r, nil
}

// Decline gives an address back to its server as another host's (RFC 8415
// section 18.2.8). The server's answer is of no interest.
func (c *Client) Decline(ctx context.Context, r Answer) {
	c.ACD.Declined()
	q := c.query(Decline)
	q.Server, q.Addr = r.Server, r.Addr
	conn, err := c.listen(ctx)
	if err == nil {
		defer conn.Close()
		c.Log.Debug("dhcp6: send " + q.Type.String())
		_, err = conn.WriteTo(q.Bytes(), &net.UDPAddr{IP: Servers.AsSlice(), Port: ServerPort})
	}
	if err != nil {
		c.Log.Debug("dhcp6", "err", err)
	}
}

// Inform returns what a server says besides an address, trying for ever until
// ctx ends.
func (c *Client) Inform(ctx context.Context) (Answer, error) {
	return c.untilAnswered(ctx, func(conn net.PacketConn, start time.Time) (Answer, error) {
		q := c.query(Inform)
		q.Address = false
		return c.ask(ctx, conn, start, "asking a DHCPv6 server", q, 0, func(r Reply) bool { return r.Type == ReplyType })
	})
}

// untilAnswered opens a socket and goes on until f has an answer.
func (c *Client) untilAnswered(ctx context.Context, f func(conn net.PacketConn, start time.Time) (Answer, error)) (Answer, error) {
	tries := retry.New(500*time.Millisecond, 16*time.Second, c.Rand)
	for {
		conn, err := c.listen(ctx)
		if err == nil {
			var r Answer
			r, err = f(conn, time.Now())
			conn.Close()
			if err == nil {
				return r, nil
			}
		}
		if ctx.Err() != nil {
			return Answer{}, ctx.Err()
		}
		c.Log.Warn(err.Error() + ", starting over")
		if err := retry.Pause(ctx, tries.Next()); err != nil {
			return Answer{}, err
		}
	}
}

// refusal is why a reply gives no address, as an error.
func refusal(r Answer, err error) error {
	if err != nil || r.Addr.IsValid() {
		return err
	}
	if r.Status != nil {
		return fmt.Errorf("dhcp6: %s refuses the address: %w", r.From, r.Status)
	}
	return fmt.Errorf("dhcp6: %s gives no address", r.From)
}

// query is a message with what every one of them carries.
func (c *Client) query(t Type) Query {
	return Query{
		Type: t, XID: c.Rand.Uint32() & 0xffffff, Client: DUID(c.MAC), Rapid: t == Solicit,
		Address: true, IAID: IAID(c.MAC), UserClass: c.User, Host: c.Host,
	}
}

// ask sends q until a server's reply matches, tries times at most; 0 is for
// ever.
func (c *Client) ask(ctx context.Context, conn net.PacketConn, start time.Time, state string, q Query, tries int, match func(Reply) bool) (Answer, error) {
	wait := retry.Retransmit(c.Rand)
	for sent := 1; sent <= tries || tries == 0; sent++ {
		c.Note(state, sent)
		sub, cancel := context.WithCancel(ctx)
		early := c.Running.Err() == nil
		if early {
			context.AfterFunc(c.Running, cancel)
		}
		r, err := c.exchange(sub, conn, start, q, wait.Next(), match)
		ended := sub.Err() != nil
		cancel()
		switch {
		case err == nil:
			return r, nil
		case ctx.Err() != nil:
			return Answer{}, ctx.Err()
		case early && ended:
			wait.Reset() // sent too early
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return Answer{}, err
		}
	}
	return Answer{}, fmt.Errorf("dhcp6: no answer to %d messages %s", tries, q.Type)
}

// exchange sends q once and waits for a match until wait is over.
func (c *Client) exchange(ctx context.Context, conn net.PacketConn, start time.Time, q Query, wait time.Duration, match func(Reply) bool) (Answer, error) {
	sent := time.Now()
	q.Elapsed = sent.Sub(start)
	c.Log.Debug(fmt.Sprintf("dhcp6: send %s, wait %s", q.Type, wait.Round(time.Millisecond)))
	if err := conn.SetReadDeadline(sent.Add(wait)); err != nil {
		return Answer{}, err
	}
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	to := &net.UDPAddr{IP: Servers.AsSlice(), Port: ServerPort} // the socket knows its link
	if _, err := conn.WriteTo(q.Bytes(), to); err != nil {
		// The link may be on its way up or down; this time is waited for all
		// the same.
		c.Log.Debug("dhcp6", "err", err)
	}
	buf := make([]byte, 2048)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return Answer{}, err
		}
		r, err := Parse(buf[:n], q.IAID)
		switch {
		case err != nil:
			c.reject(from, err.Error())
			continue
		case r.XID != q.XID || !slices.Equal(r.Client, q.Client) || len(r.Server) == 0:
			continue // another's
		case !match(r):
			if r.Status != nil {
				c.reject(from, fmt.Sprintf("%s: %v", r.Type, r.Status))
			} else if q.Address && !r.Addr.IsValid() {
				c.reject(from, fmt.Sprintf("%s without an address", r.Type))
			}
			continue
		}
		if r.PassedOver != "" {
			c.warnOnce(fmt.Sprintf("dhcp6: passed over in what %s says: %s", from, r.PassedOver))
		}
		server, _ := netip.AddrFromSlice(from.(*net.UDPAddr).IP)
		return Answer{Reply: r, At: sent, From: server}, nil
	}
}

// Renew waits until T1 and then asks for more time, of the lease's server until
// T2 and of every server after that (RFC 8415 section 18.2.4 and 18.2.5).
func (c *Client) Renew(ctx context.Context, last Answer) (Answer, error) {
	at := retry.Lifetimes{From: last.At, Lease: last.Valid, T1: last.T1, T2: last.T2}
	return retry.Renew(ctx, at, func(rebinding bool, wait time.Duration) (*Answer, error) {
		t, state := Renew, "renewing"
		if rebinding {
			t, state = Rebind, "rebinding"
		}
		q := c.query(t)
		q.Addr = last.Addr
		if !rebinding {
			q.Server = last.Server
		}
		conn, err := c.listen(ctx)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		c.Note(state, 1)
		r, err := c.exchange(ctx, conn, time.Now(), q, wait, func(r Reply) bool {
			return r.Type == ReplyType && (rebinding || slices.Equal(r.Server, last.Server))
		})
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, nil
		}
		if err = refusal(r, err); err != nil {
			if r.Type != 0 {
				err = fmt.Errorf("%w: %w", retry.ErrLost, err)
			}
			return nil, err
		}
		return &r, nil
	}, func(rebinding bool, err error) {
		c.Log.Warn("renewing by DHCPv6", "err", err)
	})
}
