package kmsg

import "context"

// FromKernel reports whether the kernel itself wrote a record: what comes from
// a program has the facility "user", whatever it claims
// (kernel/printk/printk.c, devkmsg_write). Lines for the kernel's developers
// (debug) are left out.
func FromKernel(r Record) bool { return r.Facility == 0 && r.Priority < PrioDebug }

// Last returns the last n lines of the log (of Path when path is empty) that
// only allows, all when it is nil, as they would look on the console.
func Last(ctx context.Context, path string, n int, only func(Record) bool) ([]string, error) {
	ring := NewRing(n)
	err := Tail(ctx, ring, TailOptions{Path: path, Only: only})
	return ring.Lines(), err
}
