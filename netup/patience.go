package netup

import (
	"fmt"
	"time"

	"netstage/netup/internal/plan"
	"netstage/netup/internal/retry"
	"netstage/netup/internal/rtnl"
	"netstage/netup/ipparam"
	"netstage/netup/lease"
	"netstage/netup/linktable"
)

// speedDelay is how long after its carrier a link's speed is read: reading it
// takes turns in the kernel with opening links and configuring them.
const speedDelay = time.Second

// slowDivisor is what divides the patience with a link at 10 Mb/s, as a kernel
// that was replaced by kexec, or a firmware that keeps it for wake-up, leaves
// it.
const slowDivisor = 6

// bounceWithoutLease bounces a link's carrier, once, where it has led to no
// lease in good time. It notes the link's speed, too.
func (s *session) bounceWithoutLease() {
	n := s.n
	if retry.Pause(s.ctx, speedDelay) != nil {
		return
	}
	speed := rtnl.Speed(s.name, n.opts.Sysfs)
	n.board.setSpeed(s.l, speed)
	if n.plan.Stacked(s.name) != "" || len(n.plan.VLANsOn(s.name, s.l.mac)) > 0 {
		return // the link below is another's, too
	}
	patience := n.opts.BounceAfter
	if linktable.Slow(speed) {
		patience /= slowDivisor
	}
	if s.stillWaits(patience) && n.board.mayBounce(s.l) {
		s.bounce(speed)
	}
}

// stillWaits reports whether the link has no lease so long after its carrier
// came, and waits until then.
func (s *session) stillWaits(after time.Duration) bool {
	return retry.Pause(s.ctx, time.Until(s.start.Add(after))) == nil && s.n.board.waits(s.l)
}

// hintAtFamily says what a link without a lease may wait for in vain.
func (s *session) hintAtFamily() {
	only := s.oneFamily()
	if only == "" {
		return
	}
	said := ""
	for after := s.n.opts.Report; s.stillWaits(after); after *= 2 {
		hint, known := only, false
		if s.routerSpeaks() {
			hint, known = only+", and an IPv6 router speaks there: ip="+s.name+":dhcp,dhcp6, or no ip=, takes either", true
		}
		if hint != said {
			s.log.Info(hint)
			s.n.board.faulty(s.l, hint)
			said = hint
		}
		if known {
			return
		}
	}
}

// oneFamily says that a link is to take addresses of one family alone; "" is
// that it is not.
func (s *session) oneFamily() string {
	four, is4 := plan.Dynamic(s.l.entries, lease.V4)
	six, is6 := plan.Dynamic(s.l.entries, lease.V6)
	switch {
	case is4 && !is6 && four.Method == ipparam.DHCP:
		return "ip=" + four.Text + " asks for IPv4 alone"
	case is6 && !is4:
		return "ip=" + six.Text + " asks for IPv6 alone"
	}
	return ""
}

// routerSpeaks reports whether the kernel has heard a router where IPv6 is not
// ours to configure.
func (s *session) routerSpeaks() bool {
	if _, ours := plan.Dynamic(s.l.entries, lease.V6); ours {
		return false
	}
	return s.l.kernel.HasRouter6()
}

// bounce takes the carrier away and gives it back: the two ends negotiate anew.
func (s *session) bounce(speed int) {
	at := ""
	if speed > 0 {
		at = fmt.Sprintf(" at %d Mb/s", speed)
	}
	s.log.Warn(fmt.Sprintf("no lease in %d s%s: set down and up again, once", seconds(s.start), at))
	err := s.l.kernel.SetDown()
	if err == nil && s.l.ctx.Err() == nil {
		err = s.l.kernel.LinkSetUp(rtnl.ByIndex(s.l.index))
	}
	if err != nil {
		s.log.Warn(err.Error())
	}
}

// waits reports whether a link has no lease yet and the race goes on.
func (b *board) waits(l *link) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.winner == nil && l.families[lease.V4].lease == nil && l.families[lease.V6].lease == nil
}

// mayBounce reports whether a link's carrier was not bounced yet, and notes it.
func (b *board) mayBounce(l *link) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := l.bouncedOnce
	l.bouncedOnce = true
	return !was && l.ctx.Err() == nil
}

// setSpeed notes what a link runs at.
func (b *board) setSpeed(l *link, speed int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.speed = speed
}
