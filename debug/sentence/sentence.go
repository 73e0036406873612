// Package sentence makes a line of text of each record of a log: people read
// sentences on consoles and in the kernel log, tools read the attributes.
package sentence

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
)

// A Line is a record of a log.
type Line struct {
	Level slog.Level
	Text  string
	Attrs []slog.Attr // those of the logger, then those of the call
}

// NewHandler hands records of at least a level to print, which may be called
// by several goroutines at once.
//
// A line's text is the values of the logger's attributes, the message, and the
// call's error, with colons between them:
//
//	log.With("link", "eth0").Warn("renew", "class", class, "err", err)    eth0: renew: no answer
//
// What is empty has no place in it; nor has an error that the message cites
// itself. The call's other attributes are for tools alone.
func NewHandler(least slog.Leveler, print func(Line) error) slog.Handler {
	return handler{least: least, print: print}
}

// To prints lines to w, after their levels: where there is no kernel log.
func To(w io.Writer) func(Line) error {
	var mu sync.Mutex
	return func(l Line) error {
		mu.Lock()
		defer mu.Unlock()
		_, err := io.WriteString(w, l.Level.String()+" "+l.Text+"\n")
		return err
	}
}

type handler struct {
	least slog.Leveler
	print func(Line) error
	attrs []slog.Attr
	group string // before the attributes' keys
}

func (h handler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.least.Level() }

func (h handler) Handle(_ context.Context, r slog.Record) error {
	var parts []string
	add := func(text string) {
		if text != "" {
			parts = append(parts, text)
		}
	}
	attrs := slices.Clone(h.attrs)
	for _, a := range attrs {
		add(a.Value.String())
	}
	add(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		a = h.resolved(a)
		attrs = append(attrs, a)
		if text := a.Value.String(); a.Key == "err" && !strings.Contains(r.Message, text) {
			add(text)
		}
		return true
	})
	return h.print(Line{r.Level, strings.TrimRight(strings.Join(parts, ": "), "\n"), attrs})
}

// WithAttrs is slog.Handler's.
func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.attrs = slices.Clip(h.attrs)
	for _, a := range attrs {
		h.attrs = append(h.attrs, h.resolved(a))
	}
	return h
}

// WithGroup is slog.Handler's.
func (h handler) WithGroup(name string) slog.Handler {
	if name != "" {
		h.group += name + "."
	}
	return h
}

func (h handler) resolved(a slog.Attr) slog.Attr {
	return slog.Attr{Key: h.group + a.Key, Value: a.Value.Resolve()}
}
