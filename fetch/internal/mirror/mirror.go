// Package mirror asks mirrors for an image, checks what they answer, and keeps
// what is learnt of each.
package mirror

import (
	"crypto/x509"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"netstage/fetch/pace"
	"netstage/fetch/ref"
	"netstage/stage1/fault"
)

// Mirror is one place that has the image, and what is known of it. Location,
// URL and Name never change; the rest belongs to the goroutine of the download.
type Mirror struct {
	Location ref.Location
	URL      *url.URL  // of the location
	Name     string    // what the log calls it
	Version  Validator // of the image it serves, from its last answer
	Near     bool      // a cache: others are asked only where none does well

	noRanges     bool                // it answers ranges wrongly, so it is read from the start
	failures     int                 // in a row, without bytes to speak of
	faults       int                 // in all
	waited       atomic.Int32        // how often it was not waited for long enough
	delivered    bool                // its last body brought something
	ready        time.Time           // not to be asked before
	rate         float64             // bytes per second that it delivered; 0: not known
	dead         *Fault              // of no use in this download
	bytes        int64               // of bodies that it sent
	ahead        atomic.Int64        // likewise, to several streams
	answer       string              // its last answer or fault
	class        fault.Class         // of its last fault
	client       *http.Client        // its own, once dates were forgiven; nil: the requester's
	chains       []*x509.Certificate // whose dates were forgiven
	forgiven     int
	mismatch     int64         // size of an image of unknown length that did not verify
	badRedirects *atomic.Int32 // how often in a row it led to who refuses; all copies count together
}

// State is what an operator may know of a mirror.
type State struct {
	URL    string  // without secrets
	Bytes  int64   // of bodies that it sent, also those thrown away
	Rate   float64 // bytes per second that it delivered; 0: not measured
	Faults int
	Answer string // its last answer or fault, one line; empty: it was not asked
	Class  string // of its last fault; empty: it had none
	Bad    bool   // it is not asked again in this download
}

// New has one for every URL; repeated ones count once. Whoever reads of one
// hears of its proxy.
func New(locations []ref.Location, proxy func(*http.Request) (*url.URL, error)) ([]*Mirror, *Fault) {
	var list []*Mirror
	hosts := map[string]int{}
	for _, l := range locations {
		if l.Kind != ref.URL {
			return nil, NewFault(Fatal, fault.BadURL, nil, "%s is no URL", l)
		}
		if slices.ContainsFunc(list, func(m *Mirror) bool { return m.Location.Equal(l) }) {
			continue
		}
		u := l.URL()
		hosts[u.Host]++
		list = append(list, &Mirror{Location: l, URL: u, Name: u.Host, badRedirects: new(atomic.Int32)})
	}
	if len(list) == 0 {
		return nil, NewFault(Fatal, fault.BadURL, nil, "no URL of an image is given")
	}
	for _, m := range list {
		if hosts[m.URL.Host] > 1 {
			m.Name += m.URL.Path
		}
		if m.URL.Scheme != "tftp" && proxy != nil {
			if p, err := proxy(&http.Request{URL: m.URL}); err == nil && p != nil {
				m.Name += " through " + p.Host
			}
		}
	}
	return list, nil
}

// Own is a copy for somebody who asks it beside the download: what is learnt
// there stays there.
func (m *Mirror) Own() *Mirror {
	own := &Mirror{Location: m.Location, URL: m.URL, Name: m.Name, Version: m.Version, Near: m.Near, client: m.client, chains: slices.Clone(m.chains), forgiven: m.forgiven, badRedirects: m.badRedirects}
	own.waited.Store(m.waited.Load())
	return own
}

// State is what an operator may know of m.
func (m *Mirror) State() State {
	return State{URL: m.Location.String(), Bytes: m.bytes + m.ahead.Load(), Rate: m.rate, Faults: m.faults,
		Answer: m.answer, Class: string(m.class), Bad: m.dead != nil}
}

// Ready is when m may be asked.
func (m *Mirror) Ready() time.Time { return m.ready }

// NoRanges tells that m answers ranges wrongly, so that it is read from the
// start.
func (m *Mirror) NoRanges() bool { return m.noRanges }

// SendsParts tells whether several streams may be asked of m now.
func (m *Mirror) SendsParts(now time.Time) bool {
	return m.dead == nil && !m.noRanges && m.URL.Scheme != "tftp" && !m.ready.After(now)
}

// Asked begins another try.
func (m *Mirror) Asked() { m.delivered = false }

// Answered notes the line that an answer begins with.
func (m *Mirror) Answered(resp *http.Response) { m.answer = resp.Proto + " " + oneLine(resp.Status) }

// deliveredAtLeast is how much a mirror must send for its earlier failures to
// be forgotten.
const deliveredAtLeast = 64 << 10

// Delivers tells whether that many bytes are something.
func Delivers(bytes int64) bool { return bytes >= deliveredAtLeast }

// Brought notes a body: how much of it came, how much of that was of use.
func (m *Mirror) Brought(received, used int64) {
	m.bytes += received
	if Delivers(used) {
		m.failures, m.delivered = 0, true
	}
}

// BroughtAhead notes bytes that one of several streams brought. It may be
// called by any goroutine.
func (m *Mirror) BroughtAhead(n int64) { m.ahead.Add(n) }

// Measure notes what a body brought, the time to ask for it included. Small
// ones say little.
func (m *Mirror) Measure(bytes int64, took time.Duration) {
	if bytes < 1<<20 && took < time.Second || took <= 0 {
		return
	}
	rate := max(1, float64(bytes)/took.Seconds())
	if m.rate > 0 {
		rate = (m.rate + rate) / 2
	}
	m.rate = rate
}

// Unverified notes that an image of unknown length did not verify, and tells
// whether that is for the first time at this length: then it may have been cut
// off, else it is the mirror's fault.
func (m *Mirror) Unverified(size int64) bool {
	first := m.mismatch != size
	m.mismatch = size
	return first
}

// Note counts a fault that has no consequences.
func (m *Mirror) Note(f *Fault) {
	m.faults++
	m.answer, m.class = f.Text, f.Class
}

// Failed notes what a fault means for m, and when it may be asked again.
func (m *Mirror) Failed(f *Fault, b pace.Backoff, rng *rand.Rand) {
	m.Note(f)
	if !m.delivered {
		m.Waited(f)
	}
	switch {
	case f.Scope == ThisMirror:
		m.dead = f
	case f.Scope == Transient && m.delivered:
		m.ready = time.Now().Add(b.Resume(rng))
	case f.Scope == Transient:
		m.ready = time.Now().Add(b.Delay(rng, m.failures, f.RetryAfter))
		m.failures++
	}
	if f.Class == fault.BadRange {
		m.noRanges = true
	}
}

// Waited notes a fault before the first byte: if that was for lack of patience,
// there is more the next time. It may be called by any goroutine.
func (m *Mirror) Waited(f *Fault) {
	if f.Class == fault.Timeout || f.Class == fault.Stalled {
		m.waited.Add(1)
	}
}

// Late notes of what m sends whether it came too late: if so, there is more
// patience the next time, as with what comes before the first byte; one that is
// quick again is given as little as at first. It may be called by any
// goroutine.
func (m *Mirror) Late(late bool) {
	if !late {
		m.waited.Store(0)
		return
	}
	m.waited.Add(1)
}

// Bounds of how often a time doubles: 10 s for a handshake become 80, 20 s for
// a header 160. A connection is better tried anew than waited for, since the
// kernel asks ever more rarely: 10 s become 40.
const (
	mostWaited = 3
	mostDialed = 2
)

// Allow is how long is waited for what m begins with, where d is not enough for
// some of its answers: a proxy that has to get the image first, for instance.
func (m *Mirror) Allow(d time.Duration) time.Duration {
	return d << min(m.waited.Load(), mostWaited)
}

// allowDial is likewise for a connection.
func (m *Mirror) allowDial(d time.Duration) time.Duration {
	return d << min(m.waited.Load(), mostDialed)
}
