package kmsg

import (
	"slices"
	"strings"
	"sync"
)

// Ring keeps the last lines of a log, for the failure screen and the report.
// It may be used by several goroutines.
type Ring struct {
	mu    sync.Mutex
	lines []string
	next  int
}

// NewRing returns a Ring of at most n lines.
func NewRing(n int) *Ring { return &Ring{lines: make([]string, 0, max(n, 1))} }

// Add appends a line and forgets the oldest one when the ring is full.
func (r *Ring) Add(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.lines) < cap(r.lines) {
		r.lines = append(r.lines, line)
		return
	}
	r.lines[r.next] = line
	r.next = (r.next + 1) % len(r.lines)
}

// Write adds the lines of p, each of which is whole.
func (r *Ring) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		r.Add(strings.TrimSuffix(line, "\n"))
	}
	return len(p), nil
}

// Lines returns a copy of the lines, oldest first.
func (r *Ring) Lines() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Concat(r.lines[r.next:], r.lines[:r.next])
}
