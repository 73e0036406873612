package main

import (
	"os"
	"strconv"
)

// When memory is exhausted the kernel kills what has the most of it, by this
// measure and not by what it is for (proc_pid_oom_score_adj(5)). A command
// that runs wild in a shell goes first, whoever does the boot's work last: not
// never, because an image too large for the machine is its, and a kernel that
// finds nobody to kill panics. PID 1 is never killed.
const (
	killLast  = -999
	killFirst = 500
)

// protect is for the processes that do the boot's work, expose for the shell
// and, by inheritance, its commands. Without /proc there is nothing to do.
func protect() { setKillOrder(killLast) }
func expose()  { setKillOrder(killFirst) }

func setKillOrder(n int) {
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(n)), 0)
}
