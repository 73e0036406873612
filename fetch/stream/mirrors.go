package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// Mirrors bring ranges of the image. *fetch.Ranges is one.
type Mirrors interface {
	Mirrors() int
	Name(mirror int) string
	Near(mirror int) bool // a cache: others are asked only where none does well
	// Get has limits of its own for a connection and an answer, which grow with
	// each time that a mirror needs longer.
	Get(ctx context.Context, mirror int, first, last int64) (io.ReadCloser, error)
	// Patience is how long to wait for a body's bytes where the wait was d at
	// first, and Late tells whether that was too short, or nothing was late.
	Patience(mirror int, d time.Duration) time.Duration
	Late(mirror int, late bool)
}

// Waits between the tries of one mirror: at most the first after one failure,
// doubled with each until the last.
const (
	firstWait = 500 * time.Millisecond
	mostWait  = 8 * time.Second
)

// wrongWait is how long a mirror that sent a wrong block is left alone: its
// image may be another one, and may be the right one again later.
const wrongWait = 10 * time.Second

// mirrors knows how each mirror did.
type mirrors struct {
	Mirrors
	log *slog.Logger

	mu     sync.Mutex
	states []mirrorState
}

type mirrorState struct {
	ready    time.Time // not to be asked before
	failures int       // in a row
	rate     float64   // bytes per second, when it was last measured
	fault    string    // the last; "": it does well
	told     time.Time // of a fault
}

func newMirrors(m Mirrors, log *slog.Logger) *mirrors {
	return &mirrors{Mirrors: m, log: log, states: make([]mirrorState, m.Mirrors())}
}

// pick chooses a mirror, the fastest of those that are ready and not avoided,
// and returns how long to wait for it.
func (m *mirrors) pick(now time.Time, avoid int) (mirror int, wait time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	best := -1
	better := func(i int) bool {
		if best < 0 {
			return true
		}
		a, b := &m.states[i], &m.states[best]
		if wa, wb := max(0, a.ready.Sub(now)), max(0, b.ready.Sub(now)); wa != wb {
			return wa < wb
		}
		if a.failures != b.failures {
			return a.failures < b.failures
		}
		if na, nb := m.Near(i), m.Near(best); na != nb {
			return na
		}
		return a.rate > 2*b.rate && b.rate > 0
	}
	for i := range m.states {
		if i != avoid && better(i) {
			best = i
		}
	}
	if best < 0 {
		best = avoid
	}
	return best, max(0, m.states[best].ready.Sub(now))
}

// delivered notes what a mirror brought, and how fast.
func (m *mirrors) delivered(mirror int, bytes int64, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &m.states[mirror]
	if bytes >= 256<<10 && took > 0 {
		s.rate = float64(bytes) / took.Seconds()
	}
	if s.fault != "" && bytes > 0 {
		s.failures, s.fault = 0, ""
	}
}

// failed notes a fault, tells it unless it was told just now, and leaves the
// mirror alone for a while.
func (m *mirrors) failed(now time.Time, mirror int, err error) {
	m.mu.Lock()
	s := &m.states[mirror]
	s.fault = err.Error()
	ceiling := min(mostWait, firstWait<<min(s.failures, 10))
	s.failures++
	wait := time.Duration(rand.Int64N(int64(ceiling) + 1))
	var busy interface{ RetryAfter() time.Duration }
	if errors.As(err, &busy) {
		wait += busy.RetryAfter()
	}
	var wrong *WrongBlockError
	if errors.As(err, &wrong) {
		wait = wrongWait
	}
	s.ready = now.Add(wait)
	tell := now.Sub(s.told) >= 10*time.Second
	if tell {
		s.told = now
	}
	name := m.Name(mirror)
	m.mu.Unlock()
	if tell {
		m.log.Warn(fmt.Sprintf("%s; next try of %s in %.1f s", err, name, wait.Seconds()), "mirror", name, "err", err)
	}
}

// faults are the last faults of the mirrors that do not do well.
func (m *mirrors) faults() (list []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.states {
		if f := m.states[i].fault; f != "" {
			list = append(list, f)
		}
	}
	return list
}
