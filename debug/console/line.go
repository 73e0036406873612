package console

import (
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// statusInterval is how often a status is repeated on something that can't be
// redrawn.
const statusInterval = 5 * time.Second

// Line is a console with a status line below the log: SetStatus redraws it in
// place, and what is written goes above it. On something that is no terminal a
// status is printed as a plain line, at most every five seconds. It uses
// nothing but carriage returns and blanks, so any terminal will do, and leaves
// the cursor in the first column, so that a line the kernel prints by itself
// begins where it should. It may be used by several goroutines.
type Line struct {
	mu       sync.Mutex
	w        io.Writer
	terminal bool
	width    int
	now      func() time.Time
	shown    string    // the status on the screen
	last     time.Time // when a status was last printed
	midLine  bool      // what was written last didn't end its line
}

// NewLine returns a Line on w. On a terminal of width columns the status is cut
// to fit.
func NewLine(w io.Writer, terminal bool, width int) *Line {
	return &Line{w: w, terminal: terminal, width: max(width, 2), now: time.Now}
}

// Write writes log lines above the status.
func (l *Line) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	if l.shown == "" {
		n, err := l.w.Write(p)
		l.midLine = p[len(p)-1] != '\n'
		return n, err
	}
	// One write: the lines must not flicker, nor mix with another writer's.
	var b strings.Builder
	b.WriteString(l.erased())
	b.Write(p)
	l.midLine = p[len(p)-1] != '\n'
	if !l.midLine {
		b.WriteString(l.shown + "\r")
	} else {
		l.shown = ""
	}
	if _, err := io.WriteString(l.w, b.String()); err != nil {
		return 0, err
	}
	return len(p), nil
}

// SetStatus shows text in the status line; "" takes the line away.
func (l *Line) SetStatus(text string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.terminal {
		now := l.now()
		if text == "" || !l.last.IsZero() && now.Sub(l.last) < statusInterval {
			return nil
		}
		l.last = now
		_, err := io.WriteString(l.w, text+"\n")
		return err
	}
	text = fit(text, l.width-1)
	if text == l.shown {
		return nil
	}
	out := ""
	if l.midLine {
		out, l.midLine = "\n", false
	}
	if text == "" {
		out += l.erased()
	} else {
		out += "\r" + text + strings.Repeat(" ", max(0, length(l.shown)-length(text))) + "\r"
	}
	l.shown = text
	_, err := io.WriteString(l.w, out)
	return err
}

// Keep turns the status on the screen into a line of the log.
func (l *Line) Keep() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shown == "" {
		return nil
	}
	out := l.shown + "\n"
	l.shown = ""
	_, err := io.WriteString(l.w, out)
	return err
}

func (l *Line) erased() string {
	return "\r" + strings.Repeat(" ", length(l.shown)) + "\r"
}

func length(s string) int { return utf8.RuneCountInString(s) }

// fit makes s one line of at most n characters.
func fit(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, s)
	if length(s) <= n {
		return s
	}
	return string([]rune(s)[:n])
}
