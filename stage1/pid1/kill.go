package pid1

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// killLimit is how long to look for processes to kill: to read their arguments
// may take a lock that one of them holds.
const killLimit = 5 * time.Second

// killOthers kills every process but this one, kernel threads and those whose
// argv[0] starts with '@', which ask to live on into stage 2
// (https://systemd.io/ROOT_STORAGE_DAEMONS).
func killOthers() { within(killLimit, lookAndKill) }

func lookAndKill() {
	// Every process descends from this one, and orphans become its children:
	// without any there is nobody to look for among the kernel's threads.
	if _, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err == syscall.ECHILD {
		return
	}
	names, _ := filepath.Glob("/proc/[0-9]*")
	for _, name := range names {
		pid, err := strconv.Atoi(filepath.Base(name))
		if err != nil || pid == os.Getpid() {
			continue
		}
		// Kernel threads have no executable.
		if _, err := os.Readlink(name + "/exe"); err != nil {
			continue
		}
		argv, err := os.ReadFile(name + "/cmdline")
		if err != nil || bytes.HasPrefix(argv, []byte("@")) {
			continue
		}
		syscall.Kill(pid, syscall.SIGKILL)
	}
	for {
		ended, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if ended <= 0 && err != syscall.EINTR {
			return
		}
	}
}
