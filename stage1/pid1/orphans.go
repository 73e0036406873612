package pid1

import (
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// patience is how long a zombie is left to whoever may wait for it.
const patience = time.Second

// ReapOrphans collects the processes that PID 1 inherits while it is a shell,
// which starts and waits for commands of its own by their IDs. Those are
// collected by their waiters as soon as they end; what is a zombie for longer
// has none. It does not return.
func ReapOrphans() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	for range ended {
		for before := zombies(); len(before) > 0; {
			time.Sleep(patience)
			now := zombies()
			for pid := range now {
				if before[pid] {
					syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
					delete(now, pid)
				}
			}
			before = now
		}
	}
}

// zombies are the children of this process that have ended and were not
// collected yet.
func zombies() map[int]bool {
	found := map[int]bool{}
	names, _ := filepath.Glob("/proc/[0-9]*")
	for _, name := range names {
		pid, err := strconv.Atoi(filepath.Base(name))
		if err != nil {
			continue
		}
		if s, ok := statOf(pid); ok && s.state == 'Z' && s.parent == os.Getpid() {
			found[pid] = true
		}
	}
	return found
}
