package netup

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/vishvananda/netlink"

	"netstage/netup/internal/dhcp4"
	"netstage/netup/internal/retry"
	"netstage/netup/lease"
)

// Renew keeps the lease of a network that another process brought up until ctx
// ends: it asks for more time as a client does, and sets the address anew, under
// whatever name the link has by then. It takes nothing away: an address that the
// server wants back goes when its time is over. Only leases by DHCPv4 have to
// be asked for; what routers give the kernel hears again by itself. clientID is
// the one that the lease was given to, nil for the MAC's.
func Renew(ctx context.Context, l lease.Lease, clientID []byte, log *slog.Logger) {
	for l.Source == "dhcp" && l.Time > 0 && ctx.Err() == nil {
		name := l.Link
		if link, err := netlink.LinkByIndex(l.Index); err == nil {
			name = link.Attrs().Name
		}
		vendor := Options{}.withDefaults().VendorClass
		c := &dhcp4.Client{
			Port: &dhcp4.Port{}, Index: l.Index, Name: name, MAC: l.MAC, Vendor: vendor, ClientID: clientID, Log: log, Rand: retry.Rand(l.MAC),
			Amend: func(l lease.Lease) lease.Lease { return l }, Note: func(string, int) {},
			Running: context.Background(),
		}
		next, err := c.Renew(ctx, l)
		if err != nil {
			if ctx.Err() == nil {
				log.Warn(fmt.Sprintf("%s: %v: the address goes when its time is over", name, err))
			}
			return
		}
		if err := replaceAddr(next); err != nil {
			log.Warn(fmt.Sprintf("%s: %v", name, err))
		}
		l = next
	}
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
