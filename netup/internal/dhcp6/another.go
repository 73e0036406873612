package dhcp6

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"netstage/netup/lease"
)

// otherTries is how often other servers are solicited before there are none:
// for some three seconds, as the slower one may be busy.
const otherTries = 3

// Another returns an address of another server than that of last, which led
// nowhere: of one not tried yet, else of the one tried longest ago. False:
// there is none.
func (c *Client) Another(ctx context.Context, last Answer) (Answer, bool) {
	c.avoid(last.Server)
	for {
		conn, err := c.listen(ctx)
		if err == nil {
			var r Answer
			r, err = c.converse(ctx, conn, time.Now(), otherTries)
			conn.Close()
			if err == nil {
				return r, true
			}
		}
		c.Log.Debug("no other server", "err", err)
		if len(c.tried) < 2 || ctx.Err() != nil {
			c.tried = nil
			return Answer{}, false
		}
		c.tried = c.tried[1:]
	}
}

// errNoOffer says that nobody offers an address but those that were tried.
var errNoOffer = errors.New("dhcp6: no other server offers an address")

// avoid puts a server behind all others.
func (c *Client) avoid(server []byte) {
	c.tried = append(slices.DeleteFunc(c.tried, func(duid []byte) bool { return slices.Equal(duid, server) }), server)
}

// wasTried reports whether a server is one of those.
func (c *Client) wasTried(duid []byte) bool {
	return slices.ContainsFunc(c.tried, func(t []byte) bool { return slices.Equal(t, duid) })
}

// reject tells of a reply that is of no use, each kind once, and counts it.
func (c *Client) reject(from net.Addr, why string) {
	c.warnOnce(fmt.Sprintf("dhcp6: a reply of %s is of no use: %s", from, why))
	if c.Rejected != nil {
		c.Rejected(why)
	}
}

// warnOnce warns of something once, and not for ever of new things.
func (c *Client) warnOnce(line string) {
	if slices.Contains(c.told, line) || len(c.told) == lease.MaxListed {
		c.Log.Debug(line)
		return
	}
	c.told = append(c.told, line)
	c.Log.Warn(line)
}
