package main

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"netstage/debug/sentence"
	"netstage/fetch"
)

// messages shows what an engine tells, with its progress in a line below on a
// terminal, and nowhere else.
type messages struct {
	mu       sync.Mutex
	w        io.Writer
	terminal bool
	shown    int // columns of the progress on the screen
}

func newMessages(w io.Writer) *messages {
	return &messages{w: w, terminal: terminal(w) != nil}
}

func (m *messages) progress(p fetch.Progress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.show(p.String())
}

// show replaces the line of progress; it needs m.mu.
func (m *messages) show(text string) {
	if m.terminal {
		m.clear()
		m.shown, _ = fmt.Fprint(m.w, text)
	}
}

// working runs f, and tells after a while on a terminal what it is that takes
// so long, and for how long already.
func working(w io.Writer, what string, after time.Duration, f func() error) error {
	m := newMessages(w)
	if !m.terminal {
		return f()
	}
	start, stop := time.Now(), make(chan struct{})
	var ticking sync.WaitGroup
	ticking.Go(func() {
		wait := time.NewTimer(after)
		defer wait.Stop()
		for {
			select {
			case <-stop:
				return
			case <-wait.C:
				m.mu.Lock()
				m.show(fmt.Sprintf("%s, %d s", what, int(time.Since(start).Seconds())))
				m.mu.Unlock()
				wait.Reset(time.Second)
			}
		}
	})
	err := f()
	close(stop)
	ticking.Wait()
	m.close()
	return err
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

func (m *messages) logger() *slog.Logger {
	return slog.New(sentence.NewHandler(slog.LevelInfo, func(l sentence.Line) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.clear()
		_, err := fmt.Fprintln(m.w, l.Text)
		return err
	}))
}
