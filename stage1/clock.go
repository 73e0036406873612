package stage1

import (
	"context"
	"log/slog"
	"time"

	"netstage/netup"
	"netstage/netup/clock"
)

// clockState is what is known of the machine's clock.
type clockState struct {
	wasWrong bool // before this program was built
	isSet    bool // by a time server
}

// raise sets a clock that starts before this program was built, as one without a
// battery does, to that time.
func (c *clockState) raise(log *slog.Logger, built time.Time) {
	c.wasWrong = clock.System().Raise(log, built) || c.wasWrong
}

// set sets the clock by the time servers that the network or ip= names, until
// one of them told it, before https: certificates are judged by it. A boot does
// not fail for want of the time.
func (c *clockState) set(ctx context.Context, log *slog.Logger, built time.Time, network *netup.Network) {
	if c.isSet {
		return
	}
	servers := network.Lease().NTP
	if len(servers) > 0 {
		c.isSet = clock.System().Follow(ctx, log, network.DialContext, servers, built)
	} else if c.wasWrong {
		log.Warn("clock: no time server is known (DHCP option 42, or ip= with ntp0); newer certificates are not valid yet by this clock")
	}
}
