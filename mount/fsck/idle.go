package fsck

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// idleLook is how often a program is looked at.
const idleLook = time.Second

// endIdle cancels when the process pid, and what it has started, have not done
// anything for a time: a disk does not answer. A check of many terabytes takes
// hours, and computes and reads all the while.
func endIdle(ctx context.Context, cancel context.CancelCauseFunc, pid int, most time.Duration) {
	look := time.NewTicker(min(idleLook, most))
	defer look.Stop()
	last, since := done(pid), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		if now := done(pid); now != last {
			last, since = now, time.Now()
		}
		if time.Since(since) >= most {
			cancel(fmt.Errorf("it has done nothing for %v: the disk does not answer", most))
			return
		}
	}
}

// done is a number that changes as long as a process, or one that it started,
// computes, reads or writes (proc_pid_stat(5), proc_pid_io(5)).
func done(pid int) (sum uint64) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	stat, _ := os.ReadFile(dir + "stat") // a process that is gone does nothing
	_, rest, _ := strings.Cut(string(stat), ") ")
	const user, system = 11, 12 // of the fields from the state on
	for i, field := range strings.Fields(rest) {
		if i == user || i == system {
			n, _ := strconv.ParseUint(field, 10, 64)
			sum += n
		}
	}
	io, _ := os.ReadFile(dir + "io")
	for line := range strings.Lines(string(io)) {
		_, value, _ := strings.Cut(line, ": ")
		n, _ := strconv.ParseUint(strings.TrimSpace(value), 10, 64)
		sum += n
	}
	children, _ := os.ReadFile(fmt.Sprintf("%stask/%d/children", dir, pid))
	for word := range strings.FieldsSeq(string(children)) {
		if child, err := strconv.Atoi(word); err == nil {
			sum += done(child) + 1
		}
	}
	return sum
}
