// Stage2 is an init that tells what it finds, and powers off.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

func main() {
	fmt.Printf("stage 2: pid %d, args %q, environment %q\n", os.Getpid(), os.Args, os.Environ())
	for fd := range 3 {
		target, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		fmt.Printf("fd %d: %s %v\n", fd, target, err)
	}
	open, _ := os.ReadDir("/proc/self/fd")
	for _, entry := range open {
		target, err := os.Readlink("/proc/self/fd/" + entry.Name())
		// What this program's own runtime and the listing have open is no leak.
		if err == nil && entry.Name() > "2" && !strings.HasPrefix(target, "anon_inode:") {
			fmt.Printf("leaked fd %s: %s\n", entry.Name(), target)
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(mounts)) {
		fmt.Printf("mount: %s\n", strings.TrimSpace(line))
	}
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range names {
		argv, _ := os.ReadFile(name)
		fmt.Printf("process: %q\n", strings.TrimRight(string(argv), "\x00"))
	}
	entries, _ := os.ReadDir("/")
	for _, entry := range entries {
		fmt.Printf("entry: /%s\n", entry.Name())
	}
	fmt.Println("stage 2 done")
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}
