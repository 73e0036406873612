package netup

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// slaac6 is one link's IPv6 autoconfiguration (RFC 4862). It reads router
// advertisements itself, so that address, route and DNS servers come together
// and at once; the kernel's own part is switched off for the link.
type slaac6 struct {
	index   int
	name    string
	mac     net.HardwareAddr
	log     *slog.Logger
	rng     *rand.Rand
	running context.Context // see dhcp4
	note    func(state string, sent int)
	amend   func(Lease) Lease
}

// acquire solicits until a router answers with a prefix.
func (c *slaac6) acquire(ctx context.Context, _ netip.Addr) (Lease, func(), error) {
	none := func() {}
	tries := &backoff{first: time.Second, limit: 16 * time.Second, rng: c.rng}
	for {
		l, err := c.solicit(ctx)
		if err == nil || ctx.Err() != nil {
			return l, none, err
		}
		c.log.Warn(fmt.Sprintf("%s: %v", c.name, err))
		if err := pause(ctx, tries.next()); err != nil {
			return Lease{}, none, err
		}
	}
}

func (c *slaac6) solicit(ctx context.Context) (Lease, error) {
	if err := c.linkLocal(); err != nil {
		return Lease{}, err
	}
	conn, err := c.listen(ctx)
	if err != nil {
		return Lease{}, err
	}
	defer conn.Close()
	wait := retransmit(c.rng)
	for sent := 1; ; sent++ {
		c.note("soliciting a router", sent)
		if err := c.send(conn); err != nil {
			c.log.Debug(fmt.Sprintf("%s: router solicitation: %v", c.name, err))
		}
		sub, cancel := context.WithTimeout(ctx, wait.next())
		if c.running.Err() == nil {
			context.AfterFunc(c.running, cancel)
		}
		l, err := c.receive(sub, conn)
		early := sub.Err() != nil && !errors.Is(sub.Err(), context.DeadlineExceeded)
		cancel()
		switch {
		case err == nil:
			return l, nil
		case ctx.Err() != nil:
			return Lease{}, ctx.Err()
		case early:
			wait.n = 0
		}
	}
}

// renew waits for the next advertisement, and asks for one at half of the
// address's life.
func (c *slaac6) renew(ctx context.Context, l Lease) (Lease, error) {
	conn, err := c.listen(ctx)
	if err != nil {
		return Lease{}, err
	}
	defer conn.Close()
	if l.Time == 0 {
		return c.receive(ctx, conn)
	}
	for _, until := range []time.Duration{l.Time / 2, l.Time * 3 / 4, l.Time} {
		sub, cancel := context.WithDeadline(ctx, l.Acquired.Add(until))
		next, err := c.receive(sub, conn)
		cancel()
		if err == nil {
			return next, nil
		}
		if ctx.Err() != nil {
			return Lease{}, ctx.Err()
		}
		if err := c.send(conn); err != nil {
			c.log.Debug(fmt.Sprintf("%s: router solicitation: %v", c.name, err))
		}
	}
	return Lease{}, errors.New("the address's life is over and no router extended it")
}

// linkLocal gives the link its own address, without the second or two that the
// kernel takes to look for duplicates.
func (c *slaac6) linkLocal() error {
	link, err := netlink.LinkByIndex(c.index)
	if err != nil {
		return fmt.Errorf("%s: find link: %w", c.name, err)
	}
	a := netip.PrefixFrom(eui64(netip.MustParseAddr("fe80::"), c.mac), 64)
	err = netlink.AddrReplace(link, &netlink.Addr{IPNet: ipNet(a, false), Flags: unix.IFA_F_NODAD, Scope: unix.RT_SCOPE_LINK})
	if err != nil {
		return fmt.Errorf("%s: add address %s: %w", c.name, a, err)
	}
	return nil
}

// listen opens a socket that takes router advertisements of this link only.
func (c *slaac6) listen(ctx context.Context) (*net.IPConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, rc syscall.RawConn) error {
		return onSocket(rc, func(fd int) error {
			// ICMP6_FILTER: a set bit blocks the type.
			filter := unix.ICMPv6Filter{}
			for i := range filter.Data {
				filter.Data[i] = 0xffffffff
			}
			filter.Data[134/32] &^= 1 << (134 % 32)
			return errors.Join(
				unix.BindToDevice(fd, c.name),
				unix.SetsockoptICMPv6Filter(fd, unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER, &filter),
				unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1),
				unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, c.index),
				unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255),
			)
		})
	}}
	conn, err := lc.ListenPacket(ctx, "ip6:ipv6-icmp", "::")
	if err != nil {
		return nil, fmt.Errorf("%s: open ICMPv6 socket: %w", c.name, err)
	}
	return conn.(*net.IPConn), nil
}

// send solicits all routers, with our link-layer address (RFC 4861 section 4.1).
func (c *slaac6) send(conn *net.IPConn) error {
	m := append([]byte{133, 0, 0, 0, 0, 0, 0, 0, 1, 1}, c.mac...)
	_, err := conn.WriteTo(m, &net.IPAddr{IP: net.IPv6linklocalallrouters, Zone: c.name})
	return err
}

// receive waits for an advertisement that gives an address.
func (c *slaac6) receive(ctx context.Context, conn *net.IPConn) (Lease, error) {
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return Lease{}, err
	}
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf, oob := make([]byte, 1500), make([]byte, 128)
	for {
		n, noob, _, from, err := conn.ReadMsgIP(buf, oob)
		if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil {
			return Lease{}, ctx.Err()
		}
		if err != nil {
			return Lease{}, fmt.Errorf("%s: receive router advertisement: %w", c.name, err)
		}
		router, _ := netip.AddrFromSlice(from.IP)
		a, err := parseAdvert(buf[:n], router)
		if err != nil || hopLimit(oob[:noob]) != 255 { // RFC 4861 section 6.1.2: from this link only
			c.log.Debug(fmt.Sprintf("%s: a router advertisement from %s is ignored: %v", c.name, router, err))
			continue
		}
		l, err := a.lease(c.name, c.mac)
		if err != nil {
			c.log.Warn(fmt.Sprintf("%s: %v", c.name, err))
			continue
		}
		l.Link, l.Index, l.MAC, l.Acquired = c.name, c.index, c.mac, time.Now()
		return c.amend(l), nil
	}
}

func hopLimit(oob []byte) int {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return -1
	}
	for _, m := range msgs {
		if m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_HOPLIMIT && len(m.Data) >= 4 {
			return int(binary.NativeEndian.Uint32(m.Data))
		}
	}
	return -1
}
