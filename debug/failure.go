// Package debug is what an operator meets when a boot fails: the failure
// screen and its menu. The console, the kernel log, the shell and its
// utilities are packages beneath it.
package debug

import (
	"fmt"
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
	Streak  string        // such as "failed boot 3 in a row"; "": not worth a word
	Tried   []string      // attempts with their times, newest last
	Advice  []string      // what to do; default AdviceFor(Class)
	Facts   []Facts       // what is worth seeing, the most important first
	Lines   []string      // the agent's last log lines, newest last
	Kernel  []string      // the kernel's, likewise
}

// Facts are lines about one matter, for example the network. Its title is of
// at most seven characters: it stands in the margin.
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
	if f.Streak != "" {
		b.WriteString("; " + f.Streak)
	}
	return b.String()
}

// Compact is the failure in a few lines, for the kernel log.
func (f Failure) Compact() []string {
	lines := []string{fmt.Sprintf("boot failed: %s: %s", f.Class, oneLine(f.Cause))}
	if f.Step != "" {
		where := f.where()
		lines = append(lines, strings.ToLower(where[:1])+where[1:])
	}
	for _, s := range f.Tried {
		lines = append(lines, "tried: "+oneLine(s))
	}
	for _, t := range f.Facts {
		for _, s := range t.Lines {
			lines = append(lines, strings.ToLower(t.Title)+": "+oneLine(s))
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
