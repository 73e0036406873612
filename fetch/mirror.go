package fetch

import (
	"fmt"
	"net/url"
	"strings"
	"time"
)

// source is one mirror and what is known of it.
type source struct {
	url  *url.URL
	name string // what the log calls it

	version  validator // of the image it serves, from its last answer
	noRanges bool      // it answers ranges wrongly, so it is read from the start
	failures int       // in a row, without bytes to speak of
	faults   int       // in all
	ready    time.Time // not to be asked before
	dead     *Error    // of no use in this download
	mismatch int64     // size of an image of unknown length that did not verify; a second time it is the mirror's fault
}

// newSources parses the URLs; one that is no URL is dead from the start. Repeated ones count once.
func newSources(urls []string) []*source {
	var list []*source
	seen := map[string]bool{}
	hosts := map[string]int{}
	for _, raw := range urls {
		if seen[raw] {
			continue
		}
		seen[raw] = true
		u, err := parseURL(raw)
		if err != nil {
			list = append(list, &source{name: Redacted(raw), dead: classify("", err)})
			continue
		}
		hosts[u.Host]++
		list = append(list, &source{url: u, name: u.Host})
	}
	for _, s := range list {
		if s.url != nil && hosts[s.url.Host] > 1 {
			s.name += s.url.Path
		}
	}
	return list
}

// next chooses the mirror to ask: among those that are ready the one with the fewest faults, earlier ones first; else
// the one that is ready soonest. Nil when all are dead.
func next(list []*source, now time.Time) *source {
	var best *source
	better := func(a, b *source) bool {
		aReady, bReady := !a.ready.After(now), !b.ready.After(now)
		switch {
		case aReady != bReady:
			return aReady
		case !aReady:
			return a.ready.Before(b.ready)
		}
		return a.faults < b.faults
	}
	for _, s := range list {
		if s.dead == nil && (best == nil || better(s, best)) {
			best = s
		}
	}
	return best
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
	case class == "mismatch":
		return 3
	case strings.HasPrefix(class, "tls"):
		return 2
	case strings.HasPrefix(class, "http-"):
		return 1
	}
	return 0
}

// attempts is the bounded story of what was tried, repeated entries counted.
type attempts struct {
	texts  []string
	counts []int
}

func (a *attempts) add(text string) {
	const most = 12
	if n := len(a.texts); n > 0 && a.texts[n-1] == text {
		a.counts[n-1]++
		return
	}
	a.texts, a.counts = append(a.texts, text), append(a.counts, 1)
	if len(a.texts) > most {
		a.texts, a.counts = a.texts[1:], a.counts[1:]
	}
}

func (a *attempts) list() []string {
	var out []string
	for i, t := range a.texts {
		if a.counts[i] > 1 {
			t += fmt.Sprintf(" (%d times)", a.counts[i])
		}
		out = append(out, t)
	}
	return out
}
