package shell

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// applets are what the test binary does when it is started by one of these
// names, as the agent does.
func applets() map[string]func(args []string) int {
	return map[string]func(args []string) int{
		"sh": func(args []string) int {
			exit, err := Run(context.Background(), Options{
				Args: args, Exe: "/proc/self/exe", Applets: appletNames(), Prompt: "test", Greeting: "hello operator", Dir: "/",
			})
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
			return exit
		},
		"args": func(args []string) int { fmt.Printf("%q\n", args); return 0 },
		"cat":  func([]string) int { _, _ = io.Copy(os.Stdout, os.Stdin); return 0 },
		"env":  func([]string) int { fmt.Println(strings.Join(os.Environ(), "\n")); return 0 },
		"fail": func(args []string) int { n, _ := strconv.Atoi(args[0]); return n },
		"kill": func(args []string) int {
			for _, a := range args {
				pid, err := strconv.Atoi(a)
				if err != nil || unix.Kill(pid, unix.SIGTERM) != nil {
					return 1
				}
			}
			return 0
		},
		"sleep": func(args []string) int {
			s, _ := strconv.ParseFloat(args[0], 64)
			fmt.Fprintf(os.Stderr, "sleeping as %d\n", os.Getpid())
			time.Sleep(time.Duration(s * float64(time.Second)))
			return 0
		},
		"stat": func([]string) int { // who am I, who is in the foreground?
			fg, err := unix.IoctlGetInt(0, unix.TIOCGPGRP)
			fmt.Printf("foreground %v %v\n", fg == unix.Getpgrp(), err)
			return 0
		},
	}
}

func appletNames() []string {
	var names []string
	for name := range applets() {
		names = append(names, name)
	}
	return names
}

func TestMain(m *testing.M) {
	if run, ok := applets()[os.Args[0]]; ok {
		os.Exit(run(os.Args[1:]))
	}
	os.Exit(m.Run())
}

func self(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

// person sits at a terminal with a shell.
type person struct {
	t      *testing.T
	master *os.File
	slave  *os.File
	exit   chan int

	mu    sync.Mutex
	cond  *sync.Cond
	shown bytes.Buffer
	all   bytes.Buffer
	late  bool
}

// at starts a shell on a new terminal by Session and waits for its prompt.
func at(t *testing.T, ctx context.Context) *person {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(master, &pty.Winsize{Cols: 200, Rows: 50}); err != nil {
		t.Fatal(err)
	}
	p := &person{t: t, master: master, slave: slave, exit: make(chan int, 1)}
	p.cond = sync.NewCond(&p.mu)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			p.mu.Lock()
			p.shown.Write(buf[:n])
			p.all.Write(buf[:n])
			p.cond.Broadcast()
			p.mu.Unlock()
			if err != nil {
				select { // the terminal was hung up and may come back
				case <-stop:
					return
				case <-time.After(5 * time.Millisecond):
				}
			}
		}
	})
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	wg.Go(func() {
		defer close(ended)
		exit, err := Session(ctx, slave.Name(), self(t), nil, []string{"PATH=/bin:/usr/bin", "HOME=/", "MARK=exported", "GORACE=atexit_sleep_ms=0"})
		if err != nil && ctx.Err() == nil {
			t.Errorf("session: %v", err)
		}
		p.exit <- exit
	})
	t.Cleanup(func() {
		cancel()
		<-ended
		close(stop)
		_ = slave.Close()
		_ = master.Close()
		wg.Wait()
	})
	p.see("hello operator")
	p.see("test:/ # ")
	return p
}

func (p *person) typ(keys string) {
	p.t.Helper()
	if _, err := p.master.WriteString(keys); err != nil {
		p.t.Fatal(err)
	}
}

// see waits until text is shown and forgets what was shown up to there.
func (p *person) see(text string) {
	p.t.Helper()
	late := time.AfterFunc(20*time.Second, func() { p.mu.Lock(); p.late = true; p.cond.Broadcast(); p.mu.Unlock() })
	defer late.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if i := strings.Index(p.shown.String(), text); i >= 0 {
			p.shown.Next(i + len(text))
			return
		}
		if p.late {
			p.t.Fatalf("%q was not shown; all that was:\n%s", text, p.all.String())
		}
		p.cond.Wait()
	}
}

// seeNumber waits for text and returns the number after it.
func (p *person) seeNumber(text string) int {
	p.t.Helper()
	p.see(text)
	for range 2000 {
		p.mu.Lock()
		digits, _, ok := strings.Cut(p.shown.String(), "\r")
		p.mu.Unlock()
		if ok {
			n, err := strconv.Atoi(digits)
			if err != nil {
				p.t.Fatal(err)
			}
			return n
		}
		time.Sleep(time.Millisecond)
	}
	p.t.Fatalf("no number after %q", text)
	return 0
}

func (p *person) exits(want int) {
	p.t.Helper()
	if got := <-p.exit; got != want {
		p.t.Errorf("exit status %d, want %d", got, want)
	}
}

// gone fails the test when a process is still there.
func gone(t *testing.T, pid int) {
	t.Helper()
	for range 2000 {
		if unix.Kill(pid, 0) == unix.ESRCH {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("process %d is still there", pid)
}
