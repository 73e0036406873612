package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"netstage/debug/sentence"
	"netstage/debug/sshd"
	"netstage/stage1/pid1"
)

// The files of the initrd that boot.ssh needs.
const (
	authorizedKeys = "/etc/netstage/authorized_keys"
	hostKey        = "/etc/netstage/ssh_host_ed25519_key"
)

func loadKeys() (sshd.Keys, error) {
	host, err := os.ReadFile(hostKey)
	if err != nil {
		return sshd.Keys{}, err
	}
	authorized, err := os.ReadFile(authorizedKeys)
	if err != nil {
		return sshd.Keys{}, err
	}
	return sshd.ParseKeys(host, authorized)
}

// remote is the SSH server of boot.ssh. It runs in a process of its own: what
// comes over the network can end that, and not the boot. It ends when the pipe
// that is its standard input does, so that it does not outlive this process
// either. On its standard output it says what there is to log, and how many
// people are logged in.
type remote struct {
	log    *slog.Logger
	people atomic.Int64
	place  atomic.Pointer[[]string]
}

func newRemote(log *slog.Logger) *remote { return &remote{log: log} }

// loggedIn tells whether anybody is.
func (r *remote) loggedIn() bool { return r.people.Load() > 0 }

// where says how to reach the server, a line each; nothing before there is an
// address.
func (r *remote) where() []string {
	if lines := r.place.Load(); lines != nil {
		return *lines
	}
	return nil
}

// start starts the server, and starts it again when it ends, until stop is
// called, which waits for its end.
func (r *remote) start() (stop func(), err error) {
	if _, err := loadKeys(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for wait := time.Second; ; wait = min(2*wait, time.Minute) {
			err := r.serve(ctx)
			r.people.Store(0)
			if ctx.Err() != nil {
				return
			}
			r.log.Error(fmt.Sprintf("ssh: the server ended (%v); it is started again in %v", err, wait))
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
		}
	})
	return func() {
		cancel()
		running.Wait()
	}, nil
}

// serve runs the server's process until the context ends, or the process has no
// more to say: one that nobody reads hangs sooner or later.
func (r *remote) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = []string{"sshd"}
	cmd.Env = pid1.Environment()
	cmd.Stderr = os.Stderr // the trace of a panic
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Cancel = stdin.Close
	cmd.WaitDelay = 10 * time.Second // for farewells
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewReaderSize(stdout, longestLine)
	for {
		line, cut, err := lines.ReadLine()
		if err != nil {
			break
		}
		for rest := cut; rest; { // a line that is too long is cut, and not the last
			_, rest, err = lines.ReadLine()
			rest = rest && err == nil
		}
		kind, text, _ := strings.Cut(string(line), " ")
		switch kind {
		case "people":
			var n int64
			fmt.Sscan(text, &n)
			r.people.Store(n)
		case "at":
			at, key, _ := strings.Cut(text, ", ")
			r.place.Store(&[]string{at, key})
			r.log.Info("ssh: " + text)
		case "INFO":
			r.log.Info(text)
		default:
			r.log.Warn(text)
		}
	}
	cancel()
	return cmd.Wait()
}

// longestLine is how much of what the server says is heeded.
const longestLine = 4 << 10

// runSSHD is that process.
func runSSHD() int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var mu sync.Mutex // one line at a time
	say := func(kind, text string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf("%s %s\n", kind, strings.ReplaceAll(text, "\n", " "))
	}
	keys, err := loadKeys()
	if err != nil {
		say("WARN", "ssh: "+err.Error())
		return 1
	}
	listener, err := net.Listen("tcp", ":22")
	if err != nil {
		say("WARN", "ssh: "+err.Error())
		return 1
	}
	var beside sync.WaitGroup
	beside.Go(func() {
		tellAddresses(ctx, func(text string) { say("at", text+", host key "+keys.Fingerprint()) })
	})
	go func() { // as long as the process: its end is that of the pipe
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	err = sshd.Serve(ctx, listener, sshd.Options{
		Keys: keys, Exe: "/proc/self/exe", Env: pid1.Environment(),
		Farewell: "\r\nThe boot leaves the initrd, or starts anew: this connection ends.\r\n",
		LoggedIn: func(n int) { say("people", fmt.Sprint(n)) },
		Log: slog.New(sentence.NewHandler(slog.LevelDebug, func(l sentence.Line) error {
			say(l.Level.String(), l.Text)
			return nil
		})),
	})
	cancel()
	beside.Wait()
	if err != nil {
		say("WARN", err.Error())
		return 1
	}
	return 0
}

// tellAddresses says where the machine can be reached, when that changes.
func tellAddresses(ctx context.Context, say func(string)) {
	var told []string
	for {
		wait := time.Second
		if told == nil {
			wait = 100 * time.Millisecond // somebody waits for it
		}
		var now []string
		addresses, _ := net.InterfaceAddrs() // none: there is nothing to tell
		for _, a := range addresses {
			if prefix, ok := a.(*net.IPNet); ok && prefix.IP.IsGlobalUnicast() {
				now = append(now, "ssh "+sshd.User+"@"+prefix.IP.String())
			}
		}
		if slices.Sort(now); !slices.Equal(now, told) {
			if told = now; len(now) > 0 {
				say(strings.Join(now, " or "))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}
