package pid1

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// start starts this program under a name, and returns its number.
func start(t *testing.T, name, does string) int {
	role(t, strings.TrimPrefix(name, "@"), does)
	pid, err := syscall.ForkExec("/init", []string{name}, &syscall.ProcAttr{Files: []uintptr{0, 1, 2}})
	must(t, err)
	return pid
}

// ended waits for a child's end, and leaves it to be collected.
func ended(t *testing.T, pid int) {
	for range 1000 {
		if _, over := over(pid); over {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%d does not end", pid)
}

// Everything is killed before the hand-over, but what asks to live on.
func TestKillOthers(t *testing.T) {
	machine(t)
	others, kept := []int{start(t, "boot", "hang"), start(t, "prepare", "hang")}, start(t, "@keep", "hang")
	for _, name := range []string{"boot", "prepare", "keep"} { // they are what they are called only then
		for range 1000 {
			if _, err := os.Stat(roleDir + "/" + name + ".saw"); err == nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	killOthers()
	for _, pid := range others {
		for range 1000 {
			if syscall.Kill(pid, 0) == syscall.ESRCH {
				break
			}
			collect(pid)
			time.Sleep(10 * time.Millisecond)
		}
		if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
			t.Errorf("%d lives: %v", pid, err)
		}
	}
	if s, ok := statOf(kept); !ok || s.dying {
		t.Errorf("what asks to live on was killed: %+v", s)
	}
	must(t, syscall.Kill(kept, syscall.SIGKILL))
	syscall.Wait4(kept, nil, 0, nil)
	killOthers() // nobody is there
}

// What has ended and is waited for by nobody is collected.
func TestReapOrphans(t *testing.T) {
	machine(t)
	pid := start(t, "boot", "exit:0")
	ended(t, pid)
	if found := zombies(); !found[pid] {
		t.Errorf("%d is no zombie among %v", pid, found)
	}
	go ReapOrphans()
	for range 100 { // until it has heard of a child's end
		next := start(t, "boot", "exit:0")
		ended(t, next)
		time.Sleep(50 * time.Millisecond)
		if found := zombies(); !found[pid] {
			return
		}
	}
	t.Errorf("%d is there still", pid)
}

func TestWithin(t *testing.T) {
	if !within(time.Minute, func() {}) {
		t.Error("what ended is said not to have")
	}
	hang := make(chan bool)
	defer close(hang)
	if within(10*time.Millisecond, func() { <-hang }) {
		t.Error("what hangs is said to have ended")
	}
}

// What nobody can change is read from the start.
func TestSealed(t *testing.T) {
	fd, err := sealed([]byte("policy"))
	must(t, err)
	defer unix.Close(fd)
	text := make([]byte, 10)
	if n, err := unix.Read(fd, text); err != nil || string(text[:n]) != "policy" {
		t.Errorf("%q, %v", text[:n], err)
	}
	if _, err := unix.Write(fd, []byte("x")); err != unix.EPERM {
		t.Errorf("written to: %v", err)
	}
}

// A heartbeat opens the watchdog, and each feeds it; stage 2 finds it running
// where it is to, and stopped by its magic character where it is not.
func TestWatchdogIsFed(t *testing.T) {
	machine(t)
	for _, keep := range []bool{true, false} {
		must(t, os.WriteFile(watchdogDevice, nil, 0o644))
		defer os.Remove(watchdogDevice)
		var pipe [2]int
		must(t, unix.Pipe(pipe[:]))
		said := ""
		w := &watchdog{say: func(line string) { said += line + "\n" }}
		w.read(-1) // nothing can be read: nothing is open
		for _, text := range []string{"nonsense", Heartbeat(0, false), Heartbeat(time.Minute, keep), Heartbeat(time.Minute, keep)} {
			_, err := unix.Write(pipe[1], []byte(text))
			must(t, err)
			w.read(pipe[0])
		}
		w.handOver()
		want := "\x00\x00V"
		if keep {
			want = "\x00\x00\x00"
		}
		if text, err := os.ReadFile(watchdogDevice); string(text) != want || err != nil {
			t.Errorf("written %q, want %q, %v", text, want, err)
		}
		// A file is no watchdog, and knows no timeout.
		if strings.Count(said, "keeps its own timeout") != 1 {
			t.Errorf("said %q", said)
		}
		w.complain("once")
		w.complain("once")
		if strings.Count(said, "once") != 1 {
			t.Errorf("said %q", said)
		}
		w.stop()
		for _, fd := range pipe {
			unix.Close(fd)
		}
	}
}

// A watchdog that nothing stops is not started, unless stage 2 is to feed it:
// it would reset that again and again.
func TestWatchdogThatNothingStops(t *testing.T) {
	machine(t)
	must(t, unix.Mount("sys", "/sys", "tmpfs", 0, ""))
	defer unix.Unmount("/sys", unix.MNT_DETACH)
	must(t, os.MkdirAll(filepath.Dir(watchdogLock), 0o755))
	must(t, os.WriteFile(watchdogLock, []byte("1\n"), 0o644))
	must(t, os.WriteFile(watchdogDevice, nil, 0o644))
	defer os.Remove(watchdogDevice)
	var pipe [2]int
	must(t, unix.Pipe(pipe[:]))
	said := ""
	w := &watchdog{say: func(line string) { said += line + "\n" }}
	for _, keep := range []bool{false, false, true} {
		_, err := unix.Write(pipe[1], []byte(Heartbeat(time.Minute, keep)))
		must(t, err)
		if w.read(pipe[0]); (w.fd != 0) != keep {
			t.Errorf("keep %t: open %t", keep, w.fd != 0)
		}
	}
	if strings.Count(said, "nowayout") != 1 {
		t.Errorf("said %q", said)
	}
	w.stop()
}

// A machine without a watchdog says nothing; one that is taken says so once.
func TestWatchdogThatIsNone(t *testing.T) {
	machine(t)
	said := ""
	w := &watchdog{say: func(line string) { said += line + "\n" }}
	w.open(60)
	must(t, os.Mkdir(watchdogDevice, 0o755))
	defer os.Remove(watchdogDevice)
	w.open(60)
	w.open(60)
	w.feed()
	w.stop()
	if want := fmt.Sprintf("no watchdog: open %s: is a directory\n", watchdogDevice); said != want {
		t.Errorf("said %q", said)
	}
}
