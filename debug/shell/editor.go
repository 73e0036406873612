package shell

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/term"

	"netstage/debug/console"
)

const (
	ctrlC      = 3
	ctrlD      = 4
	maxHistory = 500
)

// editor reads lines from a terminal in raw mode, with history.
type editor struct {
	in, out *os.File
	raw     func() error
	history history
	// complete does what Tab does; nil: Tab does nothing.
	complete func(line string, pos int) completion
}

// readLine shows the prompt and returns a line, errInterrupt for Ctrl-C, io.EOF
// for Ctrl-D on an empty line, and errHangup for a terminal that is gone.
//
// term.Terminal returns io.EOF for Ctrl-C too, and again at each later call as
// it never takes the key off its buffer. So each line gets a new Terminal,
// which is given one byte at a time: it never holds more than its line, and
// what is typed ahead stays in the kernel for the command that is to read it.
func (e *editor) readLine(ctx context.Context, prompt string) (string, error) {
	if err := e.raw(); err != nil {
		return "", errHangup
	}
	keys := &keyReader{ctx: ctx, in: e.in}
	t := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{keys, cookedWriter{e.out}}, prompt)
	t.History = &e.history
	width, height := console.Size(int(e.out.Fd()))
	if err := t.SetSize(width, height); err != nil {
		return "", errHangup
	}
	if e.complete != nil {
		t.AutoCompleteCallback = func(line string, pos int, key rune) (string, int, bool) {
			if key != '\t' {
				return "", 0, false
			}
			c := e.complete(line, pos)
			if len(c.choices) > 0 {
				// Above the line that is edited, which is drawn anew.
				if _, err := io.WriteString(t, columns(c.choices, width)); err != nil {
					return "", 0, false
				}
			}
			return c.line, c.pos, true
		}
	}
	line, err := t.ReadLine()
	switch {
	case err == nil || errors.Is(err, term.ErrPasteIndicator):
		return line, nil
	case keys.last == ctrlC:
		_, err := io.WriteString(e.out, "^C\n")
		return "", errors.Join(errInterrupt, err)
	case keys.last == ctrlD:
		_, err := io.WriteString(e.out, "\n")
		return "", errors.Join(io.EOF, err)
	}
	return "", errHangup
}

// cookedWriter is a terminal that adds the carriage returns itself.
type cookedWriter struct{ w io.Writer }

func (c cookedWriter) Write(p []byte) (int, error) {
	_, err := c.w.Write(bytes.ReplaceAll(p, []byte("\r\n"), []byte("\n")))
	return len(p), err
}

// history is the lines typed so far, newest last; no empty ones, and none twice
// in a row.
type history struct{ lines []string }

func (h *history) Add(line string) {
	if line == "" || len(h.lines) > 0 && h.lines[len(h.lines)-1] == line {
		return
	}
	if len(h.lines) == maxHistory {
		h.lines = h.lines[1:]
	}
	h.lines = append(h.lines, line)
}

func (h *history) Len() int { return len(h.lines) }

// At returns the i-th last line.
func (h *history) At(i int) string { return h.lines[len(h.lines)-1-i] }
