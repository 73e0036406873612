package stage1

import (
	"context"

	"netstage/netup/clock"
)

// clockState is what is known of the machine's clock.
type clockState struct {
	wasWrong bool // before this program was built
	isSet    bool // by a time server
}

// raiseClock sets a clock that starts before this program was built, as one
// without a battery does, to that time.
func (b *Boot) raiseClock() {
	b.clock.wasWrong = clock.System().Raise(b.Log, b.Built) || b.clock.wasWrong
}

// setClock sets the clock by the time servers that the network or ip= names,
// until one of them told it, before https: certificates are judged by it. A boot
// does not fail for want of the time.
func (b *Boot) setClock(ctx context.Context) {
	if b.clock.isSet {
		return
	}
	servers := b.network.Lease().NTP
	if len(servers) > 0 {
		b.clock.isSet = clock.System().Follow(ctx, b.Log, b.network.DialContext, servers, b.Built)
	} else if b.clock.wasWrong {
		b.Log.Warn("clock: no time server is known (DHCP option 42, or ip= with ntp0); newer certificates are not valid yet by this clock")
	}
}
