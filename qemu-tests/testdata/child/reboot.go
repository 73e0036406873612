package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rebootHangs makes reboot(2) one that does not return, as in a driver's
// shutdown: it waits for an answer of who has the filter's descriptor, which is
// this process.
func rebootHangs() {
	const notify = 0x7fc00000 // SECCOMP_RET_USER_NOTIF
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the call's number
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_REBOOT, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: notify},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	const everyThread = unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH
	if _, _, err := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		everyThread|unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&program))); err != 0 {
		panic(err)
	}
	must(os.WriteFile("/dev/watchdog", nil, 0o600))
	go func() {
		for !resorted() {
			time.Sleep(100 * time.Millisecond)
		}
		os.Exit(0)
	}()
}

// resorted tells, and says, what came after the reboot: sysrq, where this kernel
// has it, else the watchdog, which is left to run out.
func resorted() bool {
	if key, err := os.ReadFile("/proc/sysrq-trigger"); err == nil {
		if len(key) > 0 {
			fmt.Printf("next resort: sysrq %s\n", key)
		}
		return len(key) > 0
	}
	open, _ := filepath.Glob("/proc/self/fd/*")
	for _, fd := range open {
		if file, err := os.Readlink(fd); err == nil && file == "/dev/watchdog" {
			fmt.Println("next resort: watchdog")
			return true
		}
	}
	return false
}
