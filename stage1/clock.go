package stage1

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"netstage/fetch/vouch"
	"netstage/netup"
	"netstage/netup/clock"
)

// clockState is what is known of the machine's clock. Nobody signs what time
// servers say, so that what is signed corrects them.
type clockState struct {
	wasWrong bool          // before this program was built
	isSet    bool          // by a time server
	moved    time.Duration // by that
}

// raise sets a clock that starts before this program was built, as one without
// a battery does, to that time.
func (c *clockState) raise(log *slog.Logger, built time.Time) {
	c.wasWrong = clock.System().Raise(log, built, "this program was built") || c.wasWrong
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
		before := time.Now()
		c.isSet = clock.System().Sync(ctx, log, network.DialContext, servers, built)
		after := time.Now()
		c.moved = after.Round(0).Sub(before.Round(0)) - after.Sub(before) // the monotonic clock is not set
	} else if c.wasWrong {
		log.With("what", "clock").Warn("no time server is known (DHCP option 42, or ip= with ntp0); newer certificates are not valid yet by this clock")
	}
}

// valid judges a signed document by the clock, and the clock by the document:
// it is not before the time of signing. A clock that nobody set is taken to be
// as late as the document wants it. What a time server has moved beyond the end
// of the document, while the machine's own time lies within, is moved back.
func (c *clockState) valid(system clock.Clock, log *slog.Logger, name string, created, notBefore, notAfter time.Time) error {
	floor := created
	if c.wasWrong && !c.isSet && notBefore.After(floor) {
		floor = notBefore
	}
	system.Raise(log, floor, fmt.Sprintf("%q was signed", name))
	now := system.Now()
	own := now.Add(-c.moved)
	if beyond := !notAfter.IsZero() && now.After(notAfter); beyond && c.moved > 0 && !own.Before(floor) && !own.After(notAfter) {
		log := log.With("what", "clock")
		log.Warn(fmt.Sprintf("the time server's time is beyond the end of %q, %s: set back to the machine's own", name, notAfter.UTC().Format(time.DateTime)))
		if err := system.Set(own); err != nil {
			log.Warn("set it", "err", err)
		}
		now, c.moved = own, 0
	}
	return vouch.CheckTimes(name, now, notBefore, notAfter)
}
