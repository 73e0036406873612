package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"netstage/fetch"
)

// messages shows what an engine tells, with its progress in a line below on a terminal, and every five seconds
// elsewhere.
type messages struct {
	mu       sync.Mutex
	w        io.Writer
	terminal bool
	shown    int // columns of the progress on the screen
	last     time.Time
}

func newMessages(w io.Writer) *messages {
	m := &messages{w: w, last: time.Now()}
	if f, ok := w.(*os.File); ok {
		m.terminal = term.IsTerminal(int(f.Fd()))
	}
	return m
}

func (m *messages) progress(p fetch.Progress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	text := p.String()
	if m.terminal {
		m.clear()
		m.shown, _ = fmt.Fprint(m.w, text)
	} else if time.Since(m.last) >= 5*time.Second {
		fmt.Fprintln(m.w, text)
		m.last = time.Now()
	}
}

// clear needs m.mu.
func (m *messages) clear() {
	if m.shown > 0 {
		fmt.Fprint(m.w, "\r"+strings.Repeat(" ", m.shown)+"\r")
		m.shown = 0
	}
}

func (m *messages) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clear()
}

func (m *messages) logger() *slog.Logger { return slog.New(m) }

// Enabled, Handle, WithAttrs and WithGroup are slog.Handler's.
func (m *messages) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

func (m *messages) Handle(_ context.Context, r slog.Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clear()
	_, err := fmt.Fprintln(m.w, r.Message)
	return err
}

func (m *messages) WithAttrs([]slog.Attr) slog.Handler { return m }
func (m *messages) WithGroup(string) slog.Handler      { return m }
