package vm

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
)

// console collects what the serial console prints, without carriage returns
// and escape sequences, so that it can be waited for.
type console struct {
	raw io.Writer // receives all as it comes; may be nil

	mu      sync.Mutex
	text    []byte
	seen    int           // length of the text already expected
	changed chan struct{} // closed at the next change
	closed  bool
	scanner scanner
}

func newConsole(raw io.Writer) *console {
	return &console{raw: raw, changed: make(chan struct{})}
}

// Write takes output of the machine.
func (c *console) Write(p []byte) (int, error) {
	if c.raw != nil {
		// Whoever watches may be gone; the machine goes on.
		c.raw.Write(p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range p {
		if c.scanner.skip(b) || b == '\r' || b == 0 {
			continue
		}
		c.text = append(c.text, b)
	}
	c.signal()
	return len(p), nil
}

// close says that there will be no more output.
func (c *console) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.signal()
}

func (c *console) signal() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// String returns all text so far.
func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.text)
}

// contains tells whether the text has come up at any time.
func (c *console) contains(text string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Contains(c.text, []byte(text))
}

// tail returns the last lines of the text.
func (c *console) tail(lines int) string {
	all := strings.Split(strings.TrimRight(c.String(), "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return strings.Join(all, "\n")
}

// expect waits for match to find something in the text after the last thing
// expected, and returns the text up to its end, and it.
func (c *console) expect(ctx context.Context, match func([]byte) (from, to int)) (before, found string, err error) {
	for {
		c.mu.Lock()
		rest := c.text[c.seen:]
		if from, to := match(rest); from >= 0 {
			before, found = string(rest[:from]), string(rest[from:to])
			c.seen += to
			c.mu.Unlock()
			return before, found, nil
		}
		changed, closed := c.changed, c.closed
		c.mu.Unlock()
		if closed {
			return "", "", fmt.Errorf("the machine ended first")
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", "", context.Cause(ctx)
		}
	}
}

// matchText finds a text.
func matchText(text string) func([]byte) (int, int) {
	return func(b []byte) (int, int) {
		i := bytes.Index(b, []byte(text))
		return i, i + len(text)
	}
}

// matchPattern finds what a regular expression matches.
func matchPattern(re *regexp.Regexp) func([]byte) (int, int) {
	return func(b []byte) (int, int) {
		if at := re.FindIndex(b); at != nil {
			return at[0], at[1]
		}
		return -1, -1
	}
}

// scanner is the state of a scan for the escape sequences of terminals
// (ECMA-48).
type scanner int

const (
	plain      scanner = iota
	introduced         // after ESC
	sequence           // in a control sequence, ESC [
	designate          // after ESC ( and the like: one more byte follows
	title              // in a string, ESC ]: up to BEL or ESC \
)

// skip tells whether a byte is part of an escape sequence.
func (e *scanner) skip(b byte) bool {
	switch *e {
	case introduced:
		switch {
		case b == '[':
			*e = sequence
		case b == ']':
			*e = title
		case b >= ' ' && b <= '/':
			*e = designate
		default:
			*e = plain
		}
		return true
	case sequence:
		if b >= '@' && b <= '~' {
			*e = plain
		}
		return true
	case designate:
		*e = plain
		return true
	case title:
		switch b {
		case 7:
			*e = plain
		case 27:
			*e = introduced
		}
		return true
	}
	if b == 27 {
		*e = introduced
		return true
	}
	return false
}
