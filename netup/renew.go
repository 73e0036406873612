package netup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/vishvananda/netlink"

	"netstage/netup/internal/acd"
	"netstage/netup/internal/dhcp4"
	"netstage/netup/internal/dhcp6"
	"netstage/netup/internal/retry"
	"netstage/netup/internal/rtnl"
	"netstage/netup/lease"
)

// Renew keeps the lease of a network that another process brought up until ctx
// ends: it asks for more time as a client does, and sets the address anew,
// under whatever name the link has by then. Where servers want an address by
// DHCPv4 back, it asks for another one, and tells that to changed; unless the
// link has an address of somebody else's by then. Only leases by DHCP have to
// be asked for; what routers give the kernel hears again by itself. clientID is
// the one that a lease by DHCPv4 was given to, nil for the MAC's.
func Renew(ctx context.Context, l lease.Lease, clientID []byte, log *slog.Logger, changed func(lease.Lease)) {
	client := func(link string, l lease.Lease) *dhcp4.Client {
		log := log.With("link", link)
		return &dhcp4.Client{
			Port: &dhcp4.Port{}, Index: l.Index, Name: link, MAC: l.MAC, Vendor: Options{}.withDefaults().VendorClass, ClientID: clientID,
			Log: log, Rand: retry.Rand(l.MAC), Running: context.Background(),
			ACD:   &acd.Detector{Index: l.Index, MAC: l.MAC, Log: log},
			Amend: func(l lease.Lease) lease.Lease { return l }, Note: func(string, int) {},
		}
	}
	once := map[string]func(context.Context, string, lease.Lease) (lease.Lease, error){
		"dhcp": func(ctx context.Context, link string, l lease.Lease) (lease.Lease, error) {
			return client(link, l).Renew(ctx, l)
		},
		"dhcp6": func(ctx context.Context, link string, l lease.Lease) (lease.Lease, error) {
			c := &dhcp6.Client{Name: link, MAC: l.MAC, Log: log.With("link", link), Rand: retry.Rand(l.MAC), Running: context.Background(), Note: func(string, int) {}}
			return rebind6(ctx, c, l)
		},
	}[l.Source]
	for once != nil && l.Time > 0 && ctx.Err() == nil {
		name := l.Link
		if link, err := netlink.LinkByIndex(l.Index); err == nil {
			name = link.Attrs().Name
		}
		log := log.With("link", name)
		next, err := once(ctx, name, l)
		switch {
		case err == nil:
			if err := replaceAddr(next); err != nil {
				log.Warn(err.Error())
			}
		case ctx.Err() != nil:
			return
		case l.Source != "dhcp" || hasForeignAddr(l):
			log.Warn(err.Error() + ": the address goes when its time is over")
			return
		default:
			log.Warn(err.Error() + ": asking for another address")
			if next, err = reacquire(ctx, client(name, l), l); err != nil {
				return // ctx has ended
			}
			log.Info(fmt.Sprintf("%s takes the place of %s", next.Addr, l.Addr))
			changed(next)
		}
		l = next
	}
}

// hasForeignAddr reports whether somebody else has given the link of a lease an
// address.
func hasForeignAddr(l lease.Lease) bool {
	addrs, err := netlink.AddrList(rtnl.ByIndex(l.Index), netlink.FAMILY_V4)
	if err != nil {
		return false
	}
	for _, a := range addrs {
		if !a.IP.IsLinkLocalUnicast() && a.IP.String() != l.Addr.Addr().String() {
			return true
		}
	}
	return false
}

// reacquire gets a lease in the place of one that is lost, and configures it. Its
// only error is the end of ctx.
func reacquire(ctx context.Context, c *dhcp4.Client, lost lease.Lease) (lease.Lease, error) {
	l, end, err := c.Acquire(ctx, netip.Addr{})
	defer end()
	if err != nil {
		return l, err
	}
	if len(l.DNS) == 0 {
		l.DNS, l.Search = lost.DNS, lost.Search
	}
	conn := rtnl.Open(c.Log)
	defer conn.Close()
	kernel := conn.Link(l.Index, c.Log)
	err = kernel.Configure(l, metricOf(l.Index), nil, []netip.Prefix{lost.Addr})
	if err = errors.Join(err, kernel.Withdraw(lost, l, metricOf(l.Index), nil)); err != nil {
		c.Log.Warn(err.Error())
	}
	return l, nil
}

// rebind6 asks every server for more time: the identity of the one that gave
// the lease by DHCPv6 is not part of it.
func rebind6(ctx context.Context, c *dhcp6.Client, l lease.Lease) (lease.Lease, error) {
	had := dhcp6.Answer{At: l.Acquired, Reply: dhcp6.Reply{Addr: l.Addr.Addr(), Valid: l.Time, T1: l.T2, T2: l.T2}}
	got, err := c.Renew(ctx, had)
	if err != nil {
		return l, err
	}
	if got.Addr != l.Addr.Addr() {
		return l, fmt.Errorf("the DHCPv6 server answers with the address %s", got.Addr)
	}
	l.Acquired, l.Time, l.T1, l.T2 = got.At, got.Valid, got.T1, got.T2
	return l, nil
}

// replaceAddr gives a lease's address its new time.
func replaceAddr(l lease.Lease) error {
	link, err := netlink.LinkByIndex(l.Index)
	if err != nil {
		return fmt.Errorf("renew: find the link: %w", err)
	}
	addr, err := netlink.ParseAddr(l.Addr.String())
	if err != nil {
		return fmt.Errorf("renew: %w", err)
	}
	left := int(l.Time.Seconds())
	addr.ValidLft, addr.PreferedLft = left, left
	if err := netlink.AddrReplace(link, addr); err != nil {
		return fmt.Errorf("renew: set %s: %w", l.Addr, err)
	}
	return nil
}
