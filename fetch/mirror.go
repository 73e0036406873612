package fetch

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"netstage/fetch/ref"
)

// source is one mirror and what is known of it.
type source struct {
	location ref.Location
	url      *url.URL // of the location
	name     string   // what the log calls it

	version   validator           // of the image it serves, from its last answer
	noRanges  bool                // it answers ranges wrongly, so it is read from the start
	failures  int                 // in a row, without bytes to speak of
	faults    int                 // in all
	waited    int                 // how often its first byte was not waited for long enough
	delivered bool                // its last body brought something
	ready     time.Time           // not to be asked before
	rate      float64             // bytes per second that it delivered; 0: not known
	dead      *Error              // of no use in this download
	bytes     int64               // of bodies that it sent
	ahead     atomic.Int64        // likewise, to a pool
	answer    string              // its last answer or fault
	class     string              // of its last fault
	client    *http.Client        // its own, once dates were forgiven; nil: the engine's
	chains    []*x509.Certificate // whose dates were forgiven
	forgiven  int
	mismatch  int64 // size of an image of unknown length that did not verify; a second time it is the mirror's fault
}

// newSources has one for every URL; repeated ones count once. Whoever reads of one hears of its proxy.
func newSources(mirrors []ref.Location, proxy func(*http.Request) (*url.URL, error)) ([]*source, *Error) {
	var list []*source
	hosts := map[string]int{}
	for _, l := range mirrors {
		if l.Kind != ref.URL {
			return nil, newError(fatal, "bad-url", nil, "%s is no URL", l)
		}
		if slices.ContainsFunc(list, func(s *source) bool { return s.location.Equal(l) }) {
			continue
		}
		u := l.URL()
		hosts[u.Host]++
		list = append(list, &source{location: l, url: u, name: u.Host})
	}
	if len(list) == 0 {
		return nil, newError(fatal, "bad-url", nil, "no URL of an image is given")
	}
	for _, s := range list {
		if hosts[s.url.Host] > 1 {
			s.name += s.url.Path
		}
		if s.url.Scheme != "tftp" && proxy != nil {
			if p, err := proxy(&http.Request{URL: s.url}); err == nil && p != nil {
				s.name += " through " + p.Host
			}
		}
	}
	return list, nil
}

// state is what an operator may know of s.
func (s *source) state() Mirror {
	return Mirror{URL: s.location.String(), Bytes: s.bytes + s.ahead.Load(), Rate: s.rate, Faults: s.faults, Answer: s.answer, Class: s.class, Bad: s.dead != nil}
}

// mostWaited bounds how often the time for a first byte doubles: 20 s become 160.
const mostWaited = 3

// allow is how long is waited for what s begins with, where d is not enough for some of its answers: a proxy that has to
// get the image first, for instance.
func (s *source) allow(d time.Duration) time.Duration { return d << min(s.waited, mostWaited) }

// patience is how long a much faster mirror is waited for while a slow one is ready.
const (
	patience   = time.Second
	muchFaster = 4
)

// next chooses the mirror to ask: the most promising of those that are ready, earlier ones first, unless one known to
// be much faster is about to be; else the one that is ready soonest. Nil when all are dead.
func next(list []*source, now time.Time) *source {
	fastest := 1.0
	for _, s := range list {
		fastest = max(fastest, s.rate)
	}
	// What a mirror promises: its rate, shared with its faults. One that was not measured may be as fast as any.
	promise := func(s *source) float64 {
		rate := s.rate
		if rate == 0 {
			rate = fastest
		}
		return rate / float64(1+s.faults)
	}
	var ready, soon, soonest *source
	for _, s := range list {
		switch wait := s.ready.Sub(now); {
		case s.dead != nil:
			continue
		case wait <= 0:
			if ready == nil || promise(s) > promise(ready) {
				ready = s
			}
		case wait <= patience:
			if soon == nil || s.rate > soon.rate {
				soon = s
			}
		}
		if soonest == nil || s.ready.Before(soonest.ready) {
			soonest = s
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

// measure notes what a body brought, the time to ask for it included. Small ones say little.
func (s *source) measure(bytes int64, took time.Duration) {
	if bytes < 1<<20 && took < time.Second || took <= 0 {
		return
	}
	rate := max(1, float64(bytes)/took.Seconds())
	if s.rate > 0 {
		rate = (s.rate + rate) / 2
	}
	s.rate = rate
}

// exhausted is the error when every mirror is dead. One that served wrong bytes matters most.
func exhausted(list []*source) *Error {
	worst := list[0].dead
	var texts []string
	for _, s := range list {
		texts = append(texts, s.dead.text)
		if rank(s.dead.class) > rank(worst.class) {
			worst = s.dead
		}
	}
	text := texts[0]
	if len(texts) > 1 {
		text = fmt.Sprintf("none of %d mirrors has the image: %s", len(texts), strings.Join(texts, "; "))
	}
	return newError(fatal, worst.class, worst, "%s", text)
}

func rank(class string) int {
	switch {
	case class == "mismatch", class == "signature", class == "policy":
		return 3
	case strings.HasPrefix(class, "tls"):
		return 2
	case strings.HasPrefix(class, "http-"), class == "tftp":
		return 1
	}
	return 0
}

// attempts is the bounded story of what was tried and when, repeated entries counted.
type attempts []attempt

type attempt struct {
	text        string
	first, last time.Duration // since the download began
	count       int
}

func (a *attempts) add(at time.Duration, text string) {
	const most = 12
	if n := len(*a); n > 0 && (*a)[n-1].text == text {
		(*a)[n-1].last = at
		(*a)[n-1].count++
		return
	}
	*a = append(*a, attempt{text, at, at, 1})
	if len(*a) > most {
		*a = (*a)[1:]
	}
}

func (a attempts) list() []string {
	var out []string
	for _, t := range a {
		line := fmt.Sprintf("%.1f s: %s", t.first.Seconds(), t.text)
		if t.count > 1 {
			line = fmt.Sprintf("%.1f-%.1f s: %s (%d times)", t.first.Seconds(), t.last.Seconds(), t.text, t.count)
		}
		out = append(out, line)
	}
	return out
}
