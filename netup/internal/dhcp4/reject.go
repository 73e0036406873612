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
	if c.firstTime(netip.Addr{}, what+": "+err.Error()) {
		level = slog.LevelWarn
	}
	c.Log.Log(context.Background(), level, what+" ignored", "err", err)
	if c.Rejected != nil {
		c.Rejected(err.Error())
	}
}

// firstTime reports whether something of a server was not told yet.
func (c *Client) firstTime(server netip.Addr, what string) bool {
	c.toldMu.Lock()
	defer c.toldMu.Unlock()
	if slices.Contains(c.told[server], what) || len(c.told[server]) == lease.MaxListed || len(c.told) == lease.MaxListed && c.told[server] == nil {
		return false
	}
	if c.told == nil {
		c.told = map[netip.Addr][]string{}
	}
	c.told[server] = append(c.told[server], what)
	return true
}

// passedOver tells what of a server's messages is of no use, once.
func (c *Client) passedOver(server netip.Addr, what []string) {
	for _, w := range what {
		if c.firstTime(server, w) {
			c.Log.Warn(fmt.Sprintf("dhcp: passed over in what %s says: %s", server, w))
		}
	}
}
