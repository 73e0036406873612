// Package transcript collects what a console prints and waits for it.
package transcript

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
)

// A Transcript collects what the serial console prints, without carriage
// returns and escape sequences, so that it can be waited for.
type Transcript struct {
	raw io.Writer // receives all as it comes; may be nil

	mu      sync.Mutex
	text    []byte
	seen    int           // length of the text already expected
	changed chan struct{} // closed at the next change
	closed  bool
	scanner scanner
}

// New returns a transcript that passes everything on to raw, which may be nil.
func New(raw io.Writer) *Transcript {
	return &Transcript{raw: raw, changed: make(chan struct{})}
}

// Write takes output of the machine.
func (c *Transcript) Write(p []byte) (int, error) {
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

// Close says that there will be no more output.
func (c *Transcript) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.signal()
	return nil
}

func (c *Transcript) signal() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// String returns all text so far.
func (c *Transcript) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.text)
}

// Contains tells whether the text has come up at any time.
func (c *Transcript) Contains(text string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Contains(c.text, []byte(text))
}

// Tail returns the last lines of the text.
func (c *Transcript) Tail(lines int) string {
	all := strings.Split(strings.TrimRight(c.String(), "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return strings.Join(all, "\n")
}

// Expect waits for match to find something in the text after the last thing
// expected, and returns the text up to its end, and it.
func (c *Transcript) Expect(ctx context.Context, match func([]byte) (from, to int)) (before, found string, err error) {
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

// Text finds a text.
func Text(text string) func([]byte) (int, int) {
	return func(b []byte) (int, int) {
		i := bytes.Index(b, []byte(text))
		return i, i + len(text)
	}
}

// Pattern finds what a regular expression matches.
func Pattern(re *regexp.Regexp) func([]byte) (int, int) {
	return func(b []byte) (int, int) {
		if at := re.FindIndex(b); at != nil {
			return at[0], at[1]
		}
		return -1, -1
	}
}
