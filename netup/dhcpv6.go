package netup

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
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netstage/netup/dhcp6"
)

// client6 is one link's DHCPv6 client (RFC 8415): the messages and the order of
// them. It is less patient than the RFC has it, as the client for IPv4 is: no
// delay before the first message, short first waiting times, and the first
// server that offers an address is taken.
type client6 struct {
	name string
	mac  net.HardwareAddr
	user string // option 15, when not empty
	host string // option 39, when not empty
	log  *slog.Logger
	rng  *rand.Rand
	// running ends when the link's queue has surely been started; see dhcp4.
	running context.Context
	note    func(state string, sent int)
	guard   *guard
	life    context.Context // of a look-out, which outlives the conversation that it belongs to
	probe   *probe          // for the address last given; nil: none
}

// reply6 is what a server said, and when it was asked.
type reply6 struct {
	dhcp6.Reply
	at   time.Time
	from netip.Addr
}

// listen opens the client's socket on the link.
func (c *client6) listen(ctx context.Context) (net.PacketConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, rc syscall.RawConn) error {
		return onSocket(rc, func(fd int) error {
			return errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.BindToDevice(fd, c.name))
		})
	}}
	conn, err := lc.ListenPacket(ctx, "udp6", fmt.Sprintf("[::]:%d", dhcp6.ClientPort))
	if err != nil {
		return nil, fmt.Errorf("%s: open DHCPv6 socket: %w", c.name, err)
	}
	return conn, nil
}

// acquire returns an address, trying for ever until ctx ends, which is its only
// error.
func (c *client6) acquire(ctx context.Context) (reply6, error) {
	return c.persist(ctx, func(conn net.PacketConn, start time.Time) (reply6, error) {
		offer, err := c.ask(ctx, conn, start, "soliciting a DHCPv6 server", c.query(dhcp6.Solicit), 0, func(r dhcp6.Reply) bool {
			return (r.Type == dhcp6.Advertise || r.Rapid) && r.Addr.IsValid()
		})
		if err != nil {
			return offer, err
		}
		c.probe.end()
		c.probe = c.guard.lookOut(c.life, offer.Addr, openND)
		if offer.Type == dhcp6.ReplyType {
			return offer, nil
		}
		c.log.Debug(fmt.Sprintf("%s: dhcp6: %s offers %s", c.name, offer.from, offer.Addr))
		q := c.query(dhcp6.Request)
		q.Server, q.Addr = offer.Server, offer.Addr
		r, err := c.ask(ctx, conn, time.Now(), "requesting by DHCPv6", q, requestTries, func(r dhcp6.Reply) bool {
			return r.Type == dhcp6.ReplyType && slices.Equal(r.Server, offer.Server)
		})
		if err = refusal(r, err); err != nil {
			return r, err
		}
		if conflict := c.probe.conflict(); conflict != nil {
			c.decline(ctx, r)
			return r, conflict
		}
		return r, nil
	})
}

// decline gives an address back to its server as another host's (RFC 8415
// section 18.2.8). The server's answer is of no interest.
func (c *client6) decline(ctx context.Context, r reply6) {
	c.guard.declined++
	q := c.query(dhcp6.Decline)
	q.Server, q.Addr = r.Server, r.Addr
	conn, err := c.listen(ctx)
	if err == nil {
		defer conn.Close()
		c.log.Debug(fmt.Sprintf("%s: dhcp6: send %s", c.name, q.Type))
		_, err = conn.WriteTo(q.Bytes(), &net.UDPAddr{IP: dhcp6.Servers.AsSlice(), Port: dhcp6.ServerPort})
	}
	if err != nil {
		c.log.Debug(fmt.Sprintf("%s: dhcp6: %v", c.name, err))
	}
}

// inform returns what a server says besides an address, trying for ever until
// ctx ends.
func (c *client6) inform(ctx context.Context) (reply6, error) {
	return c.persist(ctx, func(conn net.PacketConn, start time.Time) (reply6, error) {
		q := c.query(dhcp6.Inform)
		q.Address = false
		return c.ask(ctx, conn, start, "asking a DHCPv6 server", q, 0, func(r dhcp6.Reply) bool { return r.Type == dhcp6.ReplyType })
	})
}

// persist opens a socket and goes on until f has an answer.
func (c *client6) persist(ctx context.Context, f func(conn net.PacketConn, start time.Time) (reply6, error)) (reply6, error) {
	tries := &backoff{first: 500 * time.Millisecond, limit: 16 * time.Second, rng: c.rng}
	for {
		conn, err := c.listen(ctx)
		if err == nil {
			var r reply6
			r, err = f(conn, time.Now())
			conn.Close()
			if err == nil {
				return r, nil
			}
		}
		if ctx.Err() != nil {
			return reply6{}, ctx.Err()
		}
		c.log.Warn(fmt.Sprintf("%s: %v, starting over", c.name, err))
		if err := pause(ctx, tries.next()); err != nil {
			return reply6{}, err
		}
	}
}

// refusal is why a reply gives no address, as an error.
func refusal(r reply6, err error) error {
	if err != nil || r.Addr.IsValid() {
		return err
	}
	if r.Status != nil {
		return fmt.Errorf("dhcp6: %s refuses the address: %w", r.from, r.Status)
	}
	return fmt.Errorf("dhcp6: %s gives no address", r.from)
}

// query is a message with what every one of them carries.
func (c *client6) query(t dhcp6.Type) dhcp6.Query {
	return dhcp6.Query{
		Type: t, XID: c.rng.Uint32() & 0xffffff, Client: dhcp6.DUID(c.mac), Rapid: t == dhcp6.Solicit,
		Address: true, IAID: dhcp6.IAID(c.mac), UserClass: c.user, Host: c.host,
	}
}

// ask sends q until a server's reply matches, tries times at most; 0 is for
// ever.
func (c *client6) ask(ctx context.Context, conn net.PacketConn, start time.Time, state string, q dhcp6.Query, tries int, match func(dhcp6.Reply) bool) (reply6, error) {
	wait := retransmit(c.rng)
	for sent := 1; sent <= tries || tries == 0; sent++ {
		c.note(state, sent)
		sub, cancel := context.WithCancel(ctx)
		early := c.running.Err() == nil
		if early {
			context.AfterFunc(c.running, cancel)
		}
		r, err := c.exchange(sub, conn, start, q, wait.next(), match)
		ended := sub.Err() != nil
		cancel()
		switch {
		case err == nil:
			return r, nil
		case ctx.Err() != nil:
			return reply6{}, ctx.Err()
		case early && ended:
			wait.n = 0 // sent too early
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return reply6{}, err
		}
	}
	return reply6{}, fmt.Errorf("dhcp6: no answer to %d messages %s", tries, q.Type)
}

// exchange sends q once and waits for a match until wait is over.
func (c *client6) exchange(ctx context.Context, conn net.PacketConn, start time.Time, q dhcp6.Query, wait time.Duration, match func(dhcp6.Reply) bool) (reply6, error) {
	sent := time.Now()
	q.Elapsed = sent.Sub(start)
	c.log.Debug(fmt.Sprintf("%s: dhcp6: send %s, wait %s", c.name, q.Type, wait.Round(time.Millisecond)))
	if err := conn.SetReadDeadline(sent.Add(wait)); err != nil {
		return reply6{}, err
	}
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	to := &net.UDPAddr{IP: dhcp6.Servers.AsSlice(), Port: dhcp6.ServerPort} // the socket knows its link
	if _, err := conn.WriteTo(q.Bytes(), to); err != nil {
		// The link may be on its way up or down; this time is waited for all the same.
		c.log.Debug(fmt.Sprintf("%s: dhcp6: %v", c.name, err))
	}
	buf := make([]byte, 2048)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return reply6{}, err
		}
		r, err := dhcp6.Parse(buf[:n], q.IAID)
		switch {
		case err != nil:
			c.log.Debug(fmt.Sprintf("%s: %v", c.name, err))
			continue
		case r.XID != q.XID || !slices.Equal(r.Client, q.Client) || len(r.Server) == 0:
			continue // another's
		case !match(r):
			if r.Status != nil {
				c.log.Info(fmt.Sprintf("%s: dhcp6: %s from %s: %v", c.name, r.Type, from, r.Status))
			}
			continue
		}
		server, _ := netip.AddrFromSlice(from.(*net.UDPAddr).IP)
		return reply6{Reply: r, at: sent, from: server}, nil
	}
}

// renew waits until T1 and then asks for more time, of the lease's server until
// T2 and of every server after that (RFC 8415 section 18.2.4 and 18.2.5).
func (c *client6) renew(ctx context.Context, last reply6) (reply6, error) {
	at := lifetimes{last.at, last.Valid, last.T1, last.T2}
	return renewal(ctx, at, func(rebinding bool, wait time.Duration) (*reply6, error) {
		t, state := dhcp6.Renew, "renewing"
		if rebinding {
			t, state = dhcp6.Rebind, "rebinding"
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
		c.note(state, 1)
		r, err := c.exchange(ctx, conn, time.Now(), q, wait, func(r dhcp6.Reply) bool {
			return r.Type == dhcp6.ReplyType && (rebinding || slices.Equal(r.Server, last.Server))
		})
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, nil
		}
		if err = refusal(r, err); err != nil {
			if r.Type != 0 {
				err = fmt.Errorf("%w: %w", errLost, err)
			}
			return nil, err
		}
		return &r, nil
	}, func(rebinding bool, err error) {
		c.log.Warn(fmt.Sprintf("%s: renewing by DHCPv6: %v", c.name, err))
	})
}
