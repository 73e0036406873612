package mirror

import (
	"fmt"
	"strings"
	"time"

	"netstage/stage1/fault"
)

// patience is how long a much faster mirror is waited for while a slow one is
// ready.
const (
	patience   = time.Second
	muchFaster = 4
)

// Next chooses the mirror to ask: the most promising of those that are ready,
// earlier ones first, unless one known to be much faster is about to be; else
// the one that is ready soonest. Nil when all are dead.
func Next(list []*Mirror, now time.Time) *Mirror {
	fastest := 1.0
	for _, m := range list {
		fastest = max(fastest, m.rate)
	}
	// What a mirror promises: its rate, shared with its faults. One that was
	// not measured may be as fast as any.
	promise := func(m *Mirror) float64 {
		rate := m.rate
		if rate == 0 {
			rate = fastest
		}
		return rate / float64(1+m.faults)
	}
	var ready, soon, soonest *Mirror
	for _, m := range list {
		switch wait := m.ready.Sub(now); {
		case m.dead != nil:
			continue
		case wait <= 0:
			if ready == nil || promise(m) > promise(ready) {
				ready = m
			}
		case wait <= patience:
			if soon == nil || m.rate > soon.rate {
				soon = m
			}
		}
		if soonest == nil || m.ready.Before(soonest.ready) {
			soonest = m
		}
	}
	switch {
	case ready == nil:
		return soonest
	case soon != nil && ready.rate > 0 && soon.rate > muchFaster*ready.rate:
		return soon
	}
	return ready
}

// tries is how often in a row a cache may fail before others are asked.
const tries = 2

// Preferred are the caches that do well, or else all mirrors.
func Preferred(list []*Mirror) []*Mirror {
	var near []*Mirror
	for _, m := range list {
		if m.Near && m.dead == nil && m.failures < tries {
			near = append(near, m)
		}
	}
	if len(near) > 0 {
		return near
	}
	return list
}

// Exhausted is the fault when every mirror is dead. One that served wrong bytes
// matters most.
func Exhausted(list []*Mirror) *Fault {
	worst := list[0].dead
	var texts []string
	for _, m := range list {
		texts = append(texts, m.dead.Text)
		if rank(m.dead.Class) > rank(worst.Class) {
			worst = m.dead
		}
	}
	text := texts[0]
	if len(texts) > 1 {
		text = fmt.Sprintf("none of %d mirrors has the image: %s", len(texts), strings.Join(texts, "; "))
	}
	return NewFault(Fatal, worst.Class, worst, "%s", text)
}

func rank(class fault.Class) int {
	switch {
	case class == fault.Mismatch, class == fault.Signature, class == fault.Policy, class == fault.Rollback:
		return 3
	case strings.HasPrefix(string(class), string(fault.TLS)):
		return 2
	case class.HTTPStatus() != 0, class == fault.TFTP:
		return 1
	}
	return 0
}
