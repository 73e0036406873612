package stream

import (
	"bufio"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// What a process of the stream does.
const (
	roleHold = "hold"
	roleWork = "work"
	roleRead = "read" // what a shutdown takes
)

// environment bounds what Go takes beside the image.
var environment = []string{"GOMAXPROCS=2", "GOMEMLIMIT=48MiB"}

// Main is the program under Name. tell is for what must be seen on a console.
func Main(args []string, log *slog.Logger, tell func(string)) int {
	say := func(line string) { tell("stream: " + line) }
	// A shutdown asks everyone to end; the root's own processes do not.
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE, syscall.SIGTSTP)
	if err := survive(); err != nil {
		say(err.Error())
	}
	switch {
	case slices.Equal(args, []string{roleHold}):
		if err := leaveInitramfs(); err != nil {
			say(err.Error())
			return 1
		}
		return hold(say, silence)
	case slices.Equal(args, []string{roleWork}):
		return work(log, say)
	case slices.Equal(args, []string{roleRead}):
		readForShutdown()
		return 0
	}
	return 2
}

// survive keeps the process from being killed for want of memory, and from
// ever waiting for a page.
func survive() error {
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0); err != nil {
		return fmt.Errorf("be spared where memory runs out: %w", err)
	}
	// What is used stays; Go reserves far more than it uses.
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		return fmt.Errorf("lock the memory: %w", err)
	}
	return nil
}

// ownRoot is where the process's own root is made.
const ownRoot = "/.netstage-stream"

// leaveInitramfs gives the process, which has a mount namespace of its own, a
// root of its own: whatever PID 1 moves and empties, /dev, /proc and /run stay.
// Nothing else stays mounted here.
func leaveInitramfs() error {
	if err := os.MkdirAll(ownRoot, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", ownRoot, "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=0755,size=1m"); err != nil {
		return fmt.Errorf("mount a root of its own: %w", err)
	}
	for _, dir := range []string{"/dev", "/proc", "/run"} {
		if err := os.Mkdir(ownRoot+dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(dir, ownRoot+dir, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("keep %s: %w", dir, err)
		}
	}
	for _, dir := range mountPoints() {
		if dir != "/" && dir != ownRoot && !strings.HasPrefix(dir, ownRoot+"/") {
			unix.Unmount(dir, unix.MNT_DETACH) // gone already with what it was below
		}
	}
	if err := unix.Chdir(ownRoot); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the own root to /: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("enter the own root: %w", err)
	}
	return unix.Chdir("/")
}

// mountPoints are this namespace's.
func mountPoints() (dirs []string) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 4 {
			dirs = append(dirs, fields[4])
		}
	}
	return dirs
}
