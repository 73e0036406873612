package stream

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"netstage/fetch/pace"
)

// Config says what to bring from where.
type Config struct {
	Store   *Store
	Mirrors Mirrors
	Hot     []Span // what comes first of what nobody waits for yet
	// Begin, when it is closed, begins the rest behind the hot spans; nil: at
	// once.
	Begin <-chan struct{}
	// OnDemand brings what readers wait for and nothing else.
	OnDemand bool
	// Partial says that blocks may be dropped again: the image never gets
	// whole.
	Partial bool
	// Parallel says how many connections bring the rest: as many as are
	// measurably faster than fewer, and where there may be several one more,
	// which is under way while another asks.
	Parallel pace.Parallel
	LowSpeed pace.LowSpeedLimit // below it a mirror counts as stalled
	Log      *slog.Logger
	// Changed is told whenever blocks have come. It must not block.
	Changed func()
}

// Readers is how many spans are asked for at once for readers.
const readers = 4

// A mirror whose body stands still is cut: soon where a reader waits and
// another mirror can be asked, later where not. Each time it was not waited for
// long enough it is waited for twice as long, until it is quick again.
const (
	stallReader = 2 * time.Second
	stallAlone  = 5 * time.Second
	stallRest   = 10 * time.Second
	quick       = stallReader / 2
)

// Stream is an image on its way.
type Stream struct {
	c        Config
	mirrors  *mirrors
	demands  *demands
	rest     rest
	received atomic.Int64
	tuner    pace.Tuner   // Run's
	streams  atomic.Int32 // that it wants
}

// New makes a stream. Nothing comes before Run.
func New(c Config) *Stream {
	c.Log = c.Log.With("what", "stream")
	c.Parallel, c.LowSpeed = c.Parallel.WithDefaults(), c.LowSpeed.WithDefaults()
	s := &Stream{c: c, demands: newDemands(), tuner: pace.NewTuner(c.Parallel)}
	s.streams.Store(1)
	s.mirrors = newMirrors(c.Mirrors, c.Log)
	s.rest = rest{store: c.Store, hot: c.Hot, chunk: firstChunk}
	return s
}

// Need says that a reader waits for a span.
func (s *Stream) Need(span Span) { s.demands.add(s.c.Store, span) }

// Received is how many bytes of the image have come, also those that came
// twice.
func (s *Stream) Received() int64 { return s.received.Load() }

// Complete tells whether every block is there.
func (s *Stream) Complete() bool { return s.c.Store.Map.Has(0, s.c.Store.Map.Blocks()) }

// Why says what keeps readers waiting, as far as mirrors say.
func (s *Stream) Why() string {
	if faults := s.mirrors.faults(); len(faults) > 0 {
		return strings.Join(faults, "; ")
	}
	return fmt.Sprintf("%s answers slowly", s.mirrors.Name(0))
}

// Run brings blocks until all are there, or ctx ends.
func (s *Stream) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	for range readers {
		all.Go(func() { s.serveReaders(ctx) })
	}
	if !s.c.OnDemand {
		connections := 1
		if s.c.Parallel.Streams > 1 {
			connections += s.c.Parallel.Streams
		}
		for n := range connections {
			all.Go(func() { s.bringRest(ctx, n) })
		}
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for (s.c.Partial || !s.Complete()) && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case now := <-tick.C:
			s.tune(now)
		}
	}
	err := ctx.Err()
	cancel()
	s.demands.close()
	all.Wait()
	return err
}

// tune measures whether the rest comes faster by more connections.
func (s *Stream) tune(now time.Time) {
	left := s.c.Store.size() - s.c.Store.Map.Count()*s.c.Store.blockSize()
	t := s.tuner.Add(now, s.received.Load(), left, s.demands.busy())
	s.streams.Store(int32(s.tuner.Streams()))
	if t == nil {
		return
	}
	verdict := "no faster, going back"
	if t.Kept {
		verdict = "kept"
	}
	s.c.Log.Info(fmt.Sprintf("%d connections: %.1f MB/s, half as many %.1f MB/s: %s", t.Streams, t.Rate/1e6, t.Half/1e6, verdict))
}

func (s *Stream) getter() *getter {
	return &getter{
		store: s.c.Store, mirrors: s.mirrors, check: s.c.Store.Tree.Blocks(),
		buf: make([]byte, max(piece, s.c.Store.blockSize())), changed: s.c.Changed, total: &s.received, lowSpeed: s.c.LowSpeed,
	}
}

func (s *Stream) serveReaders(ctx context.Context) {
	g := s.getter()
	g.stall = s.patience(stallReader, stallAlone)
	for {
		span, ok := s.demands.next()
		if !ok {
			return
		}
		g.until(ctx, span)
		s.demands.done(span)
	}
}

// patience is how long nothing may come where another mirror can be asked, and
// where not.
func (s *Stream) patience(several, alone time.Duration) func(mirror int) time.Duration {
	return func(int) time.Duration {
		if s.c.Mirrors.Mirrors() > 1 {
			return several
		}
		return alone
	}
}

// bringRest is the n-th connection of the rest.
func (s *Stream) bringRest(ctx context.Context, n int) {
	g := s.getter()
	g.yield, g.stall = s.demands.yield, s.patience(stallAlone, stallRest)
	for ctx.Err() == nil {
		var span Span
		ok := n <= int(s.streams.Load())
		if ok {
			span, ok = s.rest.next(s.begun())
		}
		if !ok {
			if s.Complete() {
				return
			}
			// Others bring what is left, or fail at it.
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		begun := time.Now()
		s.tryRest(ctx, g, span)
		s.rest.done(span, time.Since(begun))
	}
}

// begun tells whether the rest is to come.
func (s *Stream) begun() bool {
	if s.c.Begin == nil {
		return true
	}
	select {
	case <-s.c.Begin:
		return true
	default:
		return false
	}
}

// tryRest asks for a span once: what fails is handed out again.
func (s *Stream) tryRest(ctx context.Context, g *getter, span Span) {
	mirror, wait := s.mirrors.pick(time.Now(), -1)
	if wait > 0 {
		select {
		case <-ctx.Done():
		case <-time.After(min(wait, time.Second)):
		}
		return
	}
	if err := g.once(ctx, mirror, span); err != nil && ctx.Err() == nil {
		s.mirrors.failed(time.Now(), mirror, err)
	}
}
