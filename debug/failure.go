// Package debug is what an operator meets when a boot fails: the failure
// screen and its menu. The console, the kernel log, the shell and its
// utilities are packages beneath it.
package debug

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"netstage/debug/kmsg"
)

// Failure is why a boot stopped, as plain values.
type Failure struct {
	Class   string        // stable, for example "no-lease"
	Cause   string        // one sentence
	Step    string        // the step that failed
	Attempt int           // which attempt at the step this was, from 1; 0: not known
	Elapsed time.Duration // since the step began; 0: not known
	Tried   []string      // attempts, newest last
	Advice  []string      // what to do; default AdviceFor(Class)
	Facts   []Facts       // tables worth seeing, for example links or memory
	Lines   []string      // the last log lines, newest last
}

// Facts is a titled table on the failure screen.
type Facts struct {
	Title string
	Lines []string
}

func (f Failure) advice() []string {
	if len(f.Advice) > 0 {
		return f.Advice
	}
	return AdviceFor(f.Class)
}

// where is the line about the step.
func (f Failure) where() string {
	var b strings.Builder
	b.WriteString("Step: " + f.Step)
	if f.Elapsed > 0 {
		fmt.Fprintf(&b, ", failed after %.1f s", f.Elapsed.Seconds())
	}
	if f.Attempt > 1 {
		fmt.Fprintf(&b, ", attempt %d", f.Attempt)
	}
	return b.String()
}

// Compact is the failure in a few lines, for the kernel log.
func (f Failure) Compact() []string {
	lines := []string{
		fmt.Sprintf("boot failed: %s: %s", f.Class, oneLine(f.Cause)),
		strings.ToLower(f.where()[:1]) + f.where()[1:],
	}
	for _, s := range f.Tried {
		lines = append(lines, "tried: "+oneLine(s))
	}
	for _, t := range f.Facts {
		for _, s := range t.Lines {
			lines = append(lines, strings.ToLower(t.Title)+" "+oneLine(s))
		}
	}
	for _, s := range f.advice() {
		lines = append(lines, "advice: "+s)
	}
	return lines
}

func oneLine(s string) string {
	return kmsg.Clean(strings.Join(strings.Fields(s), " "))
}

// Screen renders the failure in at most height lines of at most width columns,
// plain ASCII, each ended by a newline, with the given lines at its foot. What
// is too much is cut where it costs least: old log lines first, old attempts
// next.
func (f Failure) Screen(width, height int, foot ...string) string {
	width, height = max(width, 20), max(height, 6)
	head := "=== boot failed: " + f.Class + " "
	lines := []string{head + strings.Repeat("=", max(0, width-len(head)))}
	lines = append(lines, atMost(wrap(oneLine(f.Cause), "", "", width), 4)...)
	if f.Step != "" {
		lines = append(lines, f.where())
	}
	var end []string
	for _, s := range foot {
		end = append(end, wrap(s, "", "  ", width)...)
	}
	end = atMost(end, height-3)

	var todo []string
	for _, s := range f.advice() {
		todo = append(todo, wrap(s, "  - ", "    ", width)...)
	}
	room := height - len(lines) - len(end)
	todo = titled("What to do:", todo, min(room, max(4, room*3/5)), false)
	room -= len(todo)

	var middle []string
	tables := append([]Facts{{"Tried:", f.Tried}}, f.Facts...)
	for i, t := range tables {
		share := room / (len(tables) - i + 1) // the log lines get one too
		part := titled(t.Title, indent(t.Lines, width), share, i == 0)
		middle = append(middle, part...)
		room -= len(part)
	}
	middle = append(middle, titled("Last lines:", indent(f.Lines, width), room, true)...)

	var b strings.Builder
	for _, line := range slices.Concat(lines, middle, todo, end) {
		b.WriteString(cutTo(ascii(line), width) + "\n")
	}
	return b.String()
}

// titled puts a title above the lines, or returns nothing when there are none
// or no room. Of too many lines it keeps the first or the last ones.
func titled(title string, lines []string, room int, last bool) []string {
	if len(lines) == 0 || room < 2 {
		return nil
	}
	if n := room - 1; len(lines) > n {
		if last {
			title = fmt.Sprintf("%s (the last %d of %d):", strings.TrimSuffix(title, ":"), n, len(lines))
			lines = lines[len(lines)-n:]
		} else {
			lines = lines[:n]
		}
	}
	return append([]string{title}, lines...)
}

func indent(lines []string, width int) []string {
	var out []string
	for _, s := range lines {
		out = append(out, cutTo("  "+strings.TrimRight(kmsg.Clean(s), " "), width))
	}
	return out
}

func atMost(lines []string, n int) []string { return lines[:min(len(lines), max(n, 0))] }

func cutTo(s string, width int) string {
	s = ascii(s)
	if len(s) <= width {
		return s
	}
	return s[:width-3] + "..."
}

// ascii replaces what a dumb terminal can't show.
func ascii(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '—' || r == '–':
			return '-'
		case r == '’' || r == '‘':
			return '\''
		case r == '“' || r == '”':
			return '"'
		case r < ' ':
			return -1
		case r > '~':
			return '?'
		}
		return r
	}, s)
}

// wrap breaks s at blanks into lines of at most width columns; a word that is
// longer than a line, such as a URL, is broken where it must be.
func wrap(s, first, next string, width int) []string {
	var lines []string
	line, empty := first, true
	for _, word := range strings.Fields(ascii(s)) {
		if !empty && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line, empty = next, true
		}
		if !empty {
			line += " "
		}
		for len(line)+len(word) > width {
			n := width - len(line)
			lines = append(lines, line+word[:n])
			line, word = next, word[n:]
		}
		line, empty = line+word, false
	}
	if !empty {
		lines = append(lines, line)
	}
	return lines
}
