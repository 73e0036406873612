package kmsg

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// HandlerOptions says where a logger's records go.
type HandlerOptions struct {
	// Kmsg gets every record. Nil: there is no kernel log.
	Kmsg *Writer
	// Console gets the records that the kernel doesn't print there itself.
	// Nil: nobody looks.
	Console io.Writer
	// Ring, if any, keeps every line as it would look on the console.
	Ring *Ring
	// Tag begins every console and ring line, for example "stage-1-init: ".
	Tag string
	// Level is the least level that is logged at all. Default: Info.
	Level slog.Leveler
	// ConsoleLevel is the least level written directly to Console.
	// Default: Level.
	ConsoleLevel slog.Leveler
	// Printing is what the kernel prints by itself; default what its files say
	// now.
	Printing *Printing
	// Now is the time since boot; default Uptime.
	Now func() time.Duration
}

// handler is a slog.Handler over the kernel log and a console. The fields are
// fixed; mu orders the lines.
type handler struct {
	HandlerOptions
	mu    *sync.Mutex
	attrs string // rendered, each with a leading space
	group string // prefix of attribute names
}

// NewHandler returns a handler that writes every record to the kernel log with
// a priority by its level (Debug 7, Info 6, Warn 4, Error 3) and, when the
// kernel's console_loglevel hides that priority or the kernel log can't be
// written, directly to the console: nothing appears twice, and nothing is lost
// with "quiet" or "loglevel=4".
func NewHandler(o HandlerOptions) slog.Handler {
	if o.Level == nil {
		o.Level = slog.LevelInfo
	}
	if o.ConsoleLevel == nil {
		o.ConsoleLevel = o.Level
	}
	if o.Printing == nil {
		o.Printing = ReadPrinting("", "")
	}
	if o.Now == nil {
		o.Now = Uptime
	}
	return &handler{HandlerOptions: o, mu: new(sync.Mutex)}
}

// Priority returns the syslog priority for a level.
func Priority(l slog.Level) int {
	switch {
	case l >= slog.LevelError:
		return PrioErr
	case l >= slog.LevelWarn:
		return PrioWarning
	case l >= slog.LevelInfo:
		return PrioInfo
	}
	return PrioDebug
}

func (h *handler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.Level.Level() }

func (h *handler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	b.WriteString(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		appendAttr(&b, h.group, a)
		return true
	})
	text := strings.TrimRight(b.String(), "\n")
	prio := Priority(r.Level)
	shown := h.Kmsg != nil && h.Printing.prints(prio)

	h.mu.Lock()
	defer h.mu.Unlock()
	var err error
	if h.Kmsg != nil {
		if err = h.Kmsg.Log(prio, text+"\n"); err != nil {
			shown = false
		}
	}
	if h.Ring == nil && (shown || h.Console == nil) {
		return err
	}
	stamp := Stamp(h.Now()) + h.Tag
	var out strings.Builder
	for line := range strings.Lines(text) {
		line = stamp + Clean(line)
		if h.Ring != nil {
			h.Ring.Add(line)
		}
		out.WriteString(line)
		out.WriteByte('\n')
	}
	if !shown && h.Console != nil && r.Level >= h.ConsoleLevel.Level() {
		if _, werr := io.WriteString(h.Console, out.String()); werr != nil && err == nil {
			err = fmt.Errorf("console: %w", werr)
		}
	}
	return err
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var b strings.Builder
	b.WriteString(h.attrs)
	for _, a := range attrs {
		appendAttr(&b, h.group, a)
	}
	h2 := *h
	h2.attrs = b.String()
	return &h2
}

func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	h2 := *h
	h2.group += name + "."
	return &h2
}

func appendAttr(b *strings.Builder, group string, a slog.Attr) {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			group += a.Key + "."
		}
		for _, g := range v.Group() {
			appendAttr(b, group, g)
		}
		return
	}
	if a.Equal(slog.Attr{}) {
		return
	}
	s := v.String()
	if strings.ContainsAny(s, " \"\n") {
		s = strconv.Quote(s)
	}
	b.WriteString(" " + group + a.Key + "=" + s)
}

// Stamp renders a time since boot as the kernel does: "[   3.214567] ".
func Stamp(d time.Duration) string {
	us := d.Microseconds()
	return fmt.Sprintf("[%5d.%06d] ", us/1e6, us%1e6)
}

// Uptime is the time since boot by CLOCK_MONOTONIC, which runs with the
// kernel's own stamps: neither counts a suspend.
func Uptime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}
