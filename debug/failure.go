// Package debug is what an operator meets when a boot fails: the failure
// screen and its menu. The console, the kernel log, the shell and its
// utilities are packages beneath it.
package debug

import (
	"fmt"
	"strings"

	"netstage/debug/kmsg"
	"netstage/stage1/fault"
)

// advice is what to do about f.
func advice(f fault.Failure) []string {
	if len(f.Advice) > 0 {
		return f.Advice
	}
	return f.Class.Advice()
}

// where is the line about f's step.
func where(f fault.Failure) string {
	var b strings.Builder
	b.WriteString("Step: " + f.Step)
	if f.Took > 0 {
		fmt.Fprintf(&b, ", failed after %.1f s", f.Took.Seconds())
	}
	if f.Attempt > 1 {
		fmt.Fprintf(&b, ", attempt %d", f.Attempt)
	}
	if f.Earlier != "" {
		b.WriteString("; " + f.Earlier)
	}
	return b.String()
}

// Compact is f in a few lines, for the kernel log.
func Compact(f fault.Failure) []string {
	lines := []string{fmt.Sprintf("boot failed: %s: %s", f.Class, oneLine(f.Cause))}
	if f.Step != "" {
		where := where(f)
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
	for _, s := range advice(f) {
		lines = append(lines, "advice: "+s)
	}
	return lines
}

func oneLine(s string) string {
	return kmsg.Clean(strings.Join(strings.Fields(s), " "))
}
