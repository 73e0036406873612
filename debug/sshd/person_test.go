package sshd

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
)

// person is at a terminal with the client.
type person struct {
	t      *testing.T
	master *os.File
	cmd    *exec.Cmd
	mu     sync.Mutex
	cond   *sync.Cond
	shown  bytes.Buffer
	gone   bool
}

func (p *place) sit(args ...string) *person {
	p.t.Helper()
	cmd := p.ssh("right", append([]string{"-tt", "root@127.0.0.1"}, args...)...)
	cmd.Env = append(os.Environ(), "TERM=xterm-test")
	master, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: 101, Rows: 37})
	if err != nil {
		p.t.Fatal(err)
	}
	o := &person{t: p.t, master: master, cmd: cmd}
	o.cond = sync.NewCond(&o.mu)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			o.mu.Lock()
			o.shown.Write(buf[:n])
			o.gone = err != nil
			o.cond.Broadcast()
			o.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	p.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait(); <-done; master.Close() })
	return o
}

func (o *person) typ(keys string) {
	o.t.Helper()
	if _, err := io.WriteString(o.master, keys); err != nil {
		o.t.Fatal(err)
	}
}

func (o *person) see(text string) {
	o.t.Helper()
	late := time.AfterFunc(20*time.Second, func() { o.mu.Lock(); o.gone = true; o.cond.Broadcast(); o.mu.Unlock() })
	defer late.Stop()
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		if i := strings.Index(o.shown.String(), text); i >= 0 {
			o.shown.Next(i + len(text))
			return
		}
		if o.gone {
			o.t.Fatalf("%q was not shown, but:\n%s", text, o.shown.String())
		}
		o.cond.Wait()
	}
}
