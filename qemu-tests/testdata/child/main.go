// Child is an init whose children misbehave as the command line says: it
// puts PID 1 to the test without a boot.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netstage/mount"
	"netstage/stage1/pid1"
)

func main() {
	switch filepath.Base(os.Args[0]) {
	case "init":
		if misdeed("reboot=") == "hangs" {
			rebootHangs()
		}
		pid1.Run(pid1.Config{
			Exe: "/init", Lost: time.Second, Say: func(line string) { fmt.Println("PID 1: " + line) },
			Limits: pid1.Limits{Silence: 3 * time.Second, Grace: time.Second, HandOver: 3 * time.Second, Prepare: 2 * time.Second},
		})
	case "boot":
		boot(misdeed("boot="))
	case "rescue":
		fmt.Printf("rescue: class %s: %s\n", os.Args[1], os.Args[2])
		_, err := os.Stat("/keep/me")
		fmt.Printf("initramfs intact: %v\n", err == nil)
		if len(os.Args) > 3 {
			text, err := io.ReadAll(os.NewFile(5, "memory"))
			must(err)
			fmt.Printf("rescue knows %s\n", text)
		}
		boot(misdeed("rescue="))
	case "@stall":
		stall()
	case "sleep", "prepare":
		time.Sleep(time.Hour)
	case "sh":
		fmt.Printf("shell: pid %d\n", os.Getpid())
		pid1.Power(unix.LINUX_REBOOT_CMD_RESTART)
	default: // "@keep" and orphans
		fmt.Printf("%s runs as %d\n", os.Args[0], os.Getpid())
		time.Sleep(time.Hour)
	}
}

// misdeed finds what the child is to do.
func misdeed(key string) string {
	mount.MountMissing(mount.Pseudo)
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		panic(err)
	}
	for _, word := range strings.Fields(string(line)) {
		if value, ok := strings.CutPrefix(word, key); ok {
			return value
		}
	}
	return ""
}

func boot(what string) {
	verdict := pid1.Verdict{}
	what, stalls := strings.CutPrefix(what, "stalled-")
	if stalls {
		hang()
	}
	what, stays := strings.CutPrefix(what, "stays-")
	if stays {
		defer time.Sleep(time.Hour)
	}
	switch what {
	case "mute":
		time.Sleep(time.Hour)
	case "alive":
		for range 6 {
			os.NewFile(4, "heartbeats").WriteString(pid1.Heartbeat(0, false))
			time.Sleep(time.Second)
		}
		verdict.Action = pid1.PowerOff
	case "panic":
		go func() { panic("in a goroutine") }()
		time.Sleep(time.Hour)
	case "sigkill", "sigsegv":
		signals := map[string]syscall.Signal{"sigkill": syscall.SIGKILL, "sigsegv": syscall.SIGSEGV}
		syscall.Kill(os.Getpid(), signals[what])
		time.Sleep(time.Hour)
	case "exit":
		os.Exit(7)
	case "silent":
		os.Exit(0)
	case "garbage":
		os.NewFile(3, "verdict").WriteString("{]")
		os.Exit(0)
	case "orphans":
		orphans()
		verdict.Action = pid1.PowerOff
	case "retry-once":
		verdict.Action = pid1.Retry
		if _, err := os.Stat("/retried"); err == nil {
			fmt.Println("second run")
			verdict.Action = pid1.PowerOff
		}
		os.WriteFile("/retried", nil, 0o644)
	case "no-stage2":
		verdict.Action = pid1.HandOver
	default:
		if root, ok := strings.CutPrefix(what, "handover:"); ok {
			verdict = handOver(root)
			break
		}
		verdict.Action = pid1.Action(what)
	}
	text, err := verdict.Encode()
	if err != nil {
		panic(err)
	}
	os.NewFile(3, "verdict").Write(text)
}

// orphans leaves grandchildren behind whose end PID 1 has to reap, while this
// process waits for a child of its own and must get its status.
func orphans() {
	for range 20 {
		// A shell would do; there is none. The middle process exits at once.
		pid, err := syscall.ForkExec("/init", []string{"orphan"}, &syscall.ProcAttr{Files: []uintptr{0, 1, 2}})
		if err != nil {
			panic(err)
		}
		syscall.Kill(pid, syscall.SIGKILL)
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil || status.Signal() != syscall.SIGKILL {
			fmt.Printf("status stolen: %v %v\n", err, status)
		}
	}
	fmt.Println("statuses kept")
}

// handOver prepares a root with this program as its init, spoilt as asked.
func handOver(spoilt string) pid1.Verdict {
	const root = "/mnt-root"
	if err := (mount.Mount{Type: "tmpfs", Source: "new", Target: root, Options: "mode=0755"}).Do(); err != nil {
		panic(err)
	}
	must(os.MkdirAll(root+"/sbin", 0o755))
	self, err := os.ReadFile("/stage2")
	must(err)
	stage2 := &pid1.Stage2{Root: root, Move: []string{"/proc", "/sys", "/dev", "/run"}, Init: "/sbin/init"}
	switch spoilt {
	case "not-executable":
		must(os.WriteFile(root+"/sbin/init", self, 0o644))
	case "missing":
	case "corrupt":
		// Passes every proof but the kernel's own.
		must(os.WriteFile(root+"/sbin/init", append([]byte("\x7fELF"), make([]byte, 200)...), 0o755))
	case "not-mounted":
		stage2.Root = "/"
		stage2.Init = "/init"
	case "file-in-the-way":
		must(os.WriteFile(root+"/sbin/init", self, 0o755))
		must(os.WriteFile(root+"/run", nil, 0o644))
	case "link-in-the-way":
		must(os.WriteFile(root+"/sbin/init", self, 0o755))
		must(os.MkdirAll(root+"/elsewhere/run", 0o755))
		must(os.Symlink("/elsewhere/run", root+"/run"))
	case "disk-stalls":
		hangingRoot(root + "/sbin")
	case "prepare-stalls":
		must(os.WriteFile(root+"/sbin/init", self, 0o755))
		me, err := os.ReadFile("/init")
		must(err)
		must(os.WriteFile(root+"/sbin/prepare", me, 0o755))
		stage2.Prepare = "/sbin/prepare"
	case "prepare-fails":
		must(os.WriteFile(root+"/sbin/init", self, 0o755))
		must(os.WriteFile(root+"/sbin/prepare", append([]byte("\x7fELF"), make([]byte, 200)...), 0o755))
		stage2.Prepare = "/sbin/prepare"
	default:
		must(os.WriteFile(root+"/sbin/init", self, 0o755))
		for _, name := range []string{"sleep", "@keep"} {
			_, err := syscall.ForkExec("/init", []string{name}, &syscall.ProcAttr{Files: []uintptr{0, 1, 2}})
			must(err)
		}
		time.Sleep(100 * time.Millisecond) // until they have printed
	}
	return pid1.Verdict{Action: pid1.HandOver, Stage2: stage2, Rescue: json.RawMessage(`"no shell"`)}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
