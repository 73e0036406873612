package qemutests

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netstage/cmd/netstage/vm"
	"netstage/qemu-tests/system"
)

// A pipe in the place of a watchdog tells who feeds it, and how it is left.
func TestWatchdogIsFed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ option, last string }{
		"stopped for stage 2": {"", "V"}, "kept for stage 2": {",keep", "\x00"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "watchdog")
			if err := unix.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
			pipe, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer pipe.Close()
			// read reads until something came, and for at most d.
			read := func(d time.Duration) string {
				text := make([]byte, 4096)
				pipe.SetReadDeadline(time.Now().Add(d))
				n, err := pipe.Read(text)
				if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatal(err)
				}
				return string(text[:n])
			}
			fed := func() {
				if got := read(time.Minute); strings.Trim(got, "\x00") != "" || got == "" {
					t.Errorf("fed with %q", got)
				}
			}
			p := scenario{copies: inInitrd, watchdog: path, cmdline: "init={init} boot.break=image boot.watchdog=5" + test.option}.start(t)
			p.expect("leaves it")
			for range 3 { // an operator may take as long as he likes
				fed()
			}
			child := childNamed(t, p.machine.Pid(), "boot")
			if err := syscall.Kill(child, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			quiet := false
			for range 5 { // what was under way
				if quiet = read(3*time.Second) == ""; quiet {
					break
				}
			}
			if !quiet {
				t.Error("fed, with the boot stopped")
			}
			if err := syscall.Kill(child, syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			fed()
			// With the boot killed the rescue goes on.
			if err := syscall.Kill(child, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			p.expect("Keys: ")
			fed()
			p.send(" ")
			p.expect("leaves it")
			p.send("exit\r")
			p.ends(stage2)
			if !strings.Contains(p.machine.Kmsg.String(), "the watchdog keeps its own timeout of 0 s: set 5 s: ") {
				t.Error("nobody complains that a pipe has no timeout")
			}
			if left := read(time.Minute); !strings.HasSuffix(left, test.last) {
				t.Errorf("left with %q", left)
			}
		})
	}
}

// A real watchdog lets a boot live that is at a breakpoint for several of its
// times, and resets the machine when PID 1 is stopped, by the cgroup freezer.
// Meanwhile the kernel's log and the agent's has come by syslog, from its
// start.
func TestQEMUWatchdogAndSyslog(t *testing.T) {
	t.Parallel()
	collector, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	var collecting sync.WaitGroup
	collecting.Go(func() {
		for datagram := make([]byte, 4096); ; {
			n, _, err := collector.ReadFrom(datagram)
			if err != nil {
				return
			}
			lines = append(lines, string(datagram[:n]))
		}
	})
	defer collecting.Wait()
	defer collector.Close()
	_, port, err := net.SplitHostPort(collector.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}

	c := guestWith(t, fullKernel, []string{"virtio_net", "i6300esb"})
	c.Direct, c.Image, c.Init = true, store(t, classic()).path, system.Init
	c.Append = "boot.watchdog=15 boot.break=image live.nixos.password=hunter2 loglevel=4 boot.log=udp://10.0.2.2:" + port
	c.ExtraArgs = []string{"-device", "i6300esb", "-action", "watchdog=reset"}
	m := start(t, c)
	m.expect("watchdog: i6300ESB timer resets the machine when the boot hangs for 15 s")
	m.expect("leaves it")
	m.send("sleep 40; echo a''live\r")
	m.expect("alive")
	// The rescue goes on with the watchdog and the log of a boot that was
	// killed.
	m.send("kill -9 $(ps | grep ' boot$' | head -n 1 | while read pid rest; do echo $pid; done)\r")
	m.expect("boot failed: killed")
	m.expect("Keys: ")
	m.send(" ")
	m.expect("leaves it")
	m.send("mkdir /g; mount -t cgroup2 g /g; mkdir /g/x; echo 1 >/g/x/cgroup.procs; echo 1 >/g/x/cgroup.freeze; cat /g/x/cgroup.events\r")
	m.expect("frozen 1")
	m.end(vm.Reset, "!stage 2: pid 1")

	collector.Close()
	collecting.Wait()
	form := regexp.MustCompile(`^<\d{1,3}>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z 52-54-00-12-34-56 (kernel|stage-1-init|-) - - \[meta sequenceId="\d+" sysUpTime="\d+"\] `)
	for _, line := range lines {
		if !form.MatchString(line) || strings.Contains(line, "hunter2") {
			t.Errorf("syslog: %q", line)
		}
	}
	all := strings.Join(lines, "\n")
	for _, want := range []string{`kernel - - [meta sequenceId="1" `, "] Linux version 6.1", "password=(blanked)", "stage-1-init - - ", "] pseudo (1/8): done", "] network (5/8): done", `breakpoint before step "image"`, "] the boot ended (killed): boot was killed by signal 9"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in syslog:\n%s", want, all)
		}
	}
}
