package kmsg

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"netstage/debug/sentence"
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
	// Each, if any, is told of every line, with its attributes.
	Each func(sentence.Line)
	// Now is the time since boot; default Uptime.
	Now func() time.Duration
}

// sink is where lines go; mu orders them.
type sink struct {
	HandlerOptions
	mu sync.Mutex
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
	return sentence.NewHandler(o.Level, (&sink{HandlerOptions: o}).print)
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

func (s *sink) print(l sentence.Line) error {
	if s.Each != nil {
		s.Each(l)
	}
	prio := Priority(l.Level)
	shown := s.Kmsg != nil && s.Printing.prints(prio)

	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if s.Kmsg != nil {
		if err = s.Kmsg.Log(prio, l.Text+"\n"); err != nil {
			shown = false
		}
	}
	if s.Ring == nil && (shown || s.Console == nil) {
		return err
	}
	stamp := Stamp(s.Now()) + s.Tag
	var out strings.Builder
	for line := range strings.Lines(l.Text) {
		line = stamp + Clean(line)
		if s.Ring != nil {
			s.Ring.Add(line)
		}
		out.WriteString(line)
		out.WriteByte('\n')
	}
	if !shown && s.Console != nil && l.Level >= s.ConsoleLevel.Level() {
		if _, werr := io.WriteString(s.Console, out.String()); werr != nil && err == nil {
			err = fmt.Errorf("console: %w", werr)
		}
	}
	return err
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
