// Package heartbeat tells PID 1, which feeds the watchdog, that the boot goes
// on.
package heartbeat

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"netstage/stage1/step"
)

// A Heartbeat tells whether the boot goes on. It does
// while its steps begin and end, while it says something and bytes
// arrive, and while an operator is asked what to do. What retries for ever
// says so each time, and is no hang: a reset would not mend it.
type Heartbeat struct {
	mu    sync.Mutex
	last  time.Time     // sign of life
	quiet time.Duration // how long there may be none; 0: for ever

	sending *step.Background // nil: PID 1 is not told
}

// Sign is one of life.
func (h *Heartbeat) Sign() { h.Expect(-1) }

// Expect is a sign of life that others follow within quiet; 0: none has to, and
// less: as before.
func (h *Heartbeat) Expect(quiet time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = time.Now()
	if quiet >= 0 {
		h.quiet = quiet
	}
}

func (h *Heartbeat) alive() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.quiet == 0 || time.Since(h.last) < h.quiet
}

// send calls tell once a second while the boot goes on.
func (h *Heartbeat) send(ctx context.Context, tell func()) {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		if h.alive() {
			tell()
		}
		select {
		case <-second.C:
		case <-ctx.Done():
			return
		}
	}
}

// Start has PID 1 hear of the boot, which it ends when it hears no more, and
// start the watchdog as soon as there is one: a driver may hang, too. It starts
// once. tell may be nil.
func (h *Heartbeat) Start(w Watchdog, tell func(Watchdog)) {
	if tell == nil || h.sending != nil {
		return
	}
	h.sending = step.InBackground(func(ctx context.Context) error {
		h.send(ctx, func() { tell(w) })
		return nil
	})
}

// Stop leaves the rest to PID 1.
func (h *Heartbeat) Stop() {
	if h.sending != nil {
		h.sending.Stop()
	}
}

// Handler takes lines as signs of life, and hands them on.
func (h *Heartbeat) Handler(next slog.Handler) slog.Handler { return lifeHandler{next, h} }

// lifeHandler takes lines as signs of life.
type lifeHandler struct {
	slog.Handler
	heart *Heartbeat
}

func (s lifeHandler) Handle(ctx context.Context, r slog.Record) error {
	s.heart.Sign()
	return s.Handler.Handle(ctx, r)
}

func (s lifeHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return lifeHandler{s.Handler.WithAttrs(attrs), s.heart}
}

func (s lifeHandler) WithGroup(name string) slog.Handler {
	return lifeHandler{s.Handler.WithGroup(name), s.heart}
}
