package pid1

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// A stat is what proc_pid_stat(5) says of a process.
type stat struct {
	state  byte // 'Z': ended, and not collected yet
	parent int
	dying  bool               // it ended, or its first thread is about to
	exit   syscall.WaitStatus // once it has ended
}

// statOf reads /proc/PID/stat, which waits for no lock of the process.
func statOf(pid int) (stat, bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, false
	}
	return parseStat(text)
}

// parseStat reads "PID (NAME) STATE PPID …", where NAME may hold anything.
func parseStat(text []byte) (stat, bool) {
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 2 || len(fields[0]) != 1 {
		return stat{}, false
	}
	parent, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		return stat{}, false
	}
	s := stat{state: fields[0][0], parent: parent}
	// The third field is the first here.
	number := func(field int) uint64 {
		if len(fields) <= field-3 {
			return 0 // an old kernel's
		}
		n, err := strconv.ParseUint(string(fields[field-3]), 10, 64)
		if err != nil {
			return 0
		}
		return n
	}
	const pending, exitCode = 31, 52
	s.dying = s.state == 'Z' || number(pending)&(1<<(unix.SIGKILL-1)) != 0
	if s.dying {
		s.exit = syscall.WaitStatus(number(exitCode))
	}
	return s, true
}

// over tells whether a process has ended, and as what, but for threads that
// the kernel can't end: all get SIGKILL when a program ends.
func over(pid int) (syscall.WaitStatus, bool) {
	s, ok := statOf(pid)
	return s.exit, ok && s.dying
}
