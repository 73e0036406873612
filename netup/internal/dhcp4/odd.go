package dhcp4

import (
	"fmt"
	"net/netip"
	"slices"

	"netstage/netup/lease"
)

// reject tells of a reply that is of no use.
func (c *Client) reject(what string, err error) {
	c.Log.Warn(fmt.Sprintf("%s: %s ignored: %v", c.Name, what, err))
	if c.Rejected != nil {
		c.Rejected(err.Error())
	}
}

// passedOver tells what of a server's messages is of no use, once.
func (c *Client) passedOver(server netip.Addr, what []string) {
	for _, w := range what {
		c.oddMu.Lock()
		told := slices.Contains(c.odd[server], w) || len(c.odd) == lease.MaxListed && c.odd[server] == nil
		if !told {
			if c.odd == nil {
				c.odd = map[netip.Addr][]string{}
			}
			c.odd[server] = append(c.odd[server], w)
		}
		c.oddMu.Unlock()
		if !told {
			c.Log.Warn(fmt.Sprintf("%s: dhcp: passed over in what %s says: %s", c.Name, server, w))
		}
	}
}
