package stage1

import (
	"context"
	"slices"

	"netstage/fetch/ref"
	"netstage/fetch/vouch"
	"netstage/netup/clock"
)

// raiseClock sets a clock that starts before this program was built, as one
// without a battery does, to that time.
func (b *Boot) raiseClock() {
	b.clockWasWrong = clock.System().Raise(b.Log, b.Built) || b.clockWasWrong
}

// setClock sets the clock by the time servers that the network or ip= names,
// until one of them told it, before https: certificates are judged by it. A boot
// does not fail for want of the time.
func (b *Boot) setClock(ctx context.Context, o vouch.Order) {
	if b.network == nil || b.clockIsSet || !usesHTTPS(o) {
		return
	}
	servers := b.network.Lease().NTP
	if len(servers) > 0 {
		b.clockIsSet = clock.System().Follow(ctx, b.Log, b.network.DialContext, servers, b.Built)
	} else if b.clockWasWrong {
		b.Log.Warn("clock: no time server is known (DHCP option 42, or ip= with ntp0); newer certificates are not valid yet by this clock")
	}
}

// usesHTTPS reports whether anything is fetched from where certificates matter.
func usesHTTPS(o vouch.Order) bool {
	return slices.ContainsFunc(slices.Concat(o.Images, o.Trees, o.Manifests), func(l ref.Location) bool {
		return l.Scheme() == "https"
	})
}
