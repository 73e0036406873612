package dhcp4

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"

	"netstage/netup/lease"
)

// reject tells of a reply that is of no use, each kind once, and counts it: a
// server may answer every DISCOVER so.
func (c *Client) reject(what string, err error) {
	level := slog.LevelDebug
	if c.first(netip.Addr{}, what+": "+err.Error()) {
		level = slog.LevelWarn
	}
	c.Log.Log(context.Background(), level, what+" ignored", "err", err)
	if c.Rejected != nil {
		c.Rejected(err.Error())
	}
}

// first tells whether something of a server was not told yet.
func (c *Client) first(server netip.Addr, what string) bool {
	c.oddMu.Lock()
	defer c.oddMu.Unlock()
	if slices.Contains(c.odd[server], what) || len(c.odd[server]) == lease.MaxListed || len(c.odd) == lease.MaxListed && c.odd[server] == nil {
		return false
	}
	if c.odd == nil {
		c.odd = map[netip.Addr][]string{}
	}
	c.odd[server] = append(c.odd[server], what)
	return true
}

// passedOver tells what of a server's messages is of no use, once.
func (c *Client) passedOver(server netip.Addr, what []string) {
	for _, w := range what {
		if c.first(server, w) {
			c.Log.Warn(fmt.Sprintf("dhcp: passed over in what %s says: %s", server, w))
		}
	}
}
