// Stage1 is the init of the initrd of a netbooted NixOS machine. The name it
// is called by picks the part it plays: "init" is PID 1, "boot" the child that
// does the work, "rescue" the failure ladder after a child's death, and every
// other name a tool of the debug shell.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"netstage/stage1/pid1"
	"netstage/stage1/stream"
)

// stamp and epoch are set by the linker. The version is in brackets, so that
// "netstage inspect" finds it in the binary.
var (
	stamp   string
	epoch   = "0"
	version = versionIn(stamp)
)

// versionIn reads "stage1-version[VERSION]".
func versionIn(stamp string) string {
	const begin = len("stage1-version[")
	if len(stamp) <= begin {
		return "devel"
	}
	return stamp[begin : len(stamp)-1]
}

// built is the time of the sources, which the clock can't be before.
func built() time.Time {
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil || seconds < 0 {
		seconds = 0
	}
	return time.Unix(seconds, 0)
}

func main() {
	name, args := filepath.Base(os.Args[0]), os.Args[1:]
	if name == "stage1" && len(args) > 0 {
		name, args = args[0], args[1:]
	}
	status := run(name, args)
	if os.Getpid() == 1 {
		// The shell that PID 1 became has been left.
		pid1.Power(unix.LINUX_REBOOT_CMD_RESTART)
	}
	os.Exit(status)
}

// isBoot tells the child of PID 1 from the command of the shell.
func isBoot(args []string) bool {
	var pipe unix.Stat_t
	return len(args) == 0 && os.Getppid() == 1 && unix.Fstat(verdictFD, &pipe) == nil && pipe.Mode&unix.S_IFMT == unix.S_IFIFO
}

func run(name string, args []string) int {
	switch name {
	case "init", "stage1":
		if os.Getpid() != 1 {
			fmt.Fprintf(os.Stderr, "%s: this is the init of an initrd, and has to be process 1 (version %s)\n", name, version)
			return 2
		}
		runInit()
		return 1
	case "boot":
		if isBoot(args) {
			return runBoot()
		}
	case stream.Name:
		return runStream(args)
	case "rescue":
		return runRescue(args)
	case "--version", "version":
		fmt.Printf("stage1 %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return 0
	case "sshd":
		return runSSHD()
	}
	return runTool(name, args)
}
