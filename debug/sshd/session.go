package sshd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// killAfter is how long a session's processes may take to end once it is over.
const killAfter = 2 * time.Second

// session serves one channel: at most one terminal and one shell or command. It
// ends with its command, with the channel, or with the context. What reads from
// the channel until the connection is closed is among parts.
func (s *server) session(ctx context.Context, channel ssh.Channel, requests <-chan *ssh.Request, parts *sync.WaitGroup) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &session{server: s, channel: channel, parts: parts}
	var running sync.WaitGroup
	done := make(chan struct{})
	defer func() {
		cancel()
		running.Wait()
		if c.tty != nil {
			c.tty.close()
		}
		channel.Close()
		for request := range requests {
			answer(request, false)
		}
	}()
	for {
		select {
		case <-done:
			return
		case <-ctx.Done():
			return
		case request, ok := <-requests:
			if !ok {
				return
			}
			switch request.Type {
			case "pty-req":
				answer(request, c.openTerminal(request.Payload) == nil)
			case "window-change":
				answer(request, c.resize(request.Payload) == nil)
			case "shell", "exec":
				args, err := commandOf(request)
				if err == nil && c.started {
					err = errors.New("there is a command already")
				}
				answer(request, err == nil)
				if err != nil {
					continue
				}
				c.started = true
				running.Go(func() {
					defer close(done)
					c.run(ctx, args)
				})
			default: // env, subsystem, x11-req, auth-agent-req@openssh.com, …
				answer(request, false)
			}
		}
	}
}

func answer(request *ssh.Request, ok bool) {
	if request.WantReply {
		request.Reply(ok, nil)
	}
}

// commandOf is the arguments of "sh" that are asked for.
func commandOf(request *ssh.Request) ([]string, error) {
	if request.Type == "shell" {
		return nil, nil
	}
	var command struct{ Text string }
	if err := ssh.Unmarshal(request.Payload, &command); err != nil {
		return nil, err
	}
	return []string{"-c", command.Text}, nil
}

type session struct {
	*server
	channel ssh.Channel
	parts   *sync.WaitGroup
	tty     *terminal
	term    string
	started bool
}

// openTerminal answers a pty-req (RFC 4254, section 6.2). The modes that the
// client names are left as they are.
func (c *session) openTerminal(payload []byte) error {
	var want struct {
		Term                         string
		Columns, Rows, Width, Height uint32
		Modes                        string
	}
	if err := ssh.Unmarshal(payload, &want); err != nil {
		return err
	}
	if c.tty != nil || c.started {
		return errors.New("there is a terminal already")
	}
	tty, err := openTerminal()
	if err != nil {
		c.Log.Warn("no terminal", "err", err)
		return err
	}
	c.tty, c.term = tty, "vt220"
	if validTerm(want.Term) {
		c.term = want.Term
	}
	return tty.resize(want.Columns, want.Rows)
}

// validTerm tells whether a client's TERM is one that does no harm in an
// environment.
func validTerm(term string) bool {
	return term != "" && len(term) <= 40 && strings.Trim(term, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.+_-") == ""
}

func (c *session) resize(payload []byte) error {
	var want struct{ Columns, Rows, Width, Height uint32 }
	if err := ssh.Unmarshal(payload, &want); err != nil {
		return err
	}
	if c.tty == nil {
		return errors.New("there is no terminal")
	}
	return c.tty.resize(want.Columns, want.Rows)
}

// run runs the command and tells the client how it ended.
func (c *session) run(ctx context.Context, args []string) {
	cmd := exec.CommandContext(ctx, c.Exe)
	cmd.Args = append([]string{"sh"}, args...)
	cmd.Env = c.Env
	cmd.WaitDelay = killAfter
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGHUP) }
	var err error
	if c.tty != nil {
		err = c.onTerminal(ctx, cmd)
	} else {
		err = c.onPipes(cmd)
	}
	if cmd.Process != nil {
		unix.Kill(-cmd.Process.Pid, unix.SIGKILL) // what is left of its process group
	}
	c.tellEnd(err)
}

// onTerminal runs cmd with the session's terminal as its controlling one.
func (c *session) onTerminal(ctx context.Context, cmd *exec.Cmd) error {
	cmd.Env = append(cmd.Env[:len(cmd.Env):len(cmd.Env)], "TERM="+c.term)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.tty.slave, c.tty.slave, c.tty.slave
	cmd.SysProcAttr.Setctty = true
	if c.Greeting != "" && len(cmd.Args) == 1 {
		io.WriteString(c.channel, c.Greeting)
	}
	err := cmd.Start()
	c.tty.slave.Close() // the other end is read until nobody writes any more
	if err != nil {
		return err
	}
	c.parts.Go(func() { io.Copy(c.tty.master, c.channel) })
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		io.Copy(c.channel, c.tty.master)
	}()
	err = cmd.Wait()
	if ctx.Err() != nil && c.Farewell != "" {
		io.WriteString(c.channel, c.Farewell)
	}
	select {
	case <-shown:
	case <-time.After(killAfter): // something in the background holds the terminal
	}
	c.tty.close()
	<-shown
	return err
}

// onPipes runs cmd without a terminal.
func (c *session) onPipes(cmd *exec.Cmd) error {
	cmd.Stdout, cmd.Stderr = c.channel, c.channel.Stderr()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	c.parts.Go(func() {
		defer stdin.Close()
		io.Copy(stdin, c.channel)
	})
	return cmd.Wait()
}

// tellEnd sends exit-status or exit-signal (RFC 4254, section 6.10).
func (c *session) tellEnd(err error) {
	c.channel.CloseWrite()
	status := uint32(0)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		how, _ := exit.Sys().(syscall.WaitStatus)
		if name := strings.TrimPrefix(unix.SignalName(how.Signal()), "SIG"); how.Signaled() && name != "" {
			c.channel.SendRequest("exit-signal", false, ssh.Marshal(struct {
				Signal        string
				Core          bool
				Message, Lang string
			}{Signal: name}))
			return
		}
		status = uint32(exit.ExitCode())
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		status = 255
		c.Log.Warn("shell", "err", err)
	}
	c.channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
}

// terminal is a pseudo terminal.
type terminal struct {
	master, slave *os.File
	once          sync.Once
}

// openTerminal makes one (pts(4)).
func openTerminal() (*terminal, error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/ptmx: %w", err)
	}
	t := &terminal{master: os.NewFile(uintptr(fd), "/dev/ptmx")}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		t.slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.master.Close()
		return nil, fmt.Errorf("pseudo terminal: %w", err)
	}
	return t, nil
}

// resize tells the terminal, and by SIGWINCH who runs on it, its size.
func (t *terminal) resize(columns, rows uint32) error {
	const most = 1 << 14
	size := &unix.Winsize{Col: uint16(min(columns, most)), Row: uint16(min(rows, most))}
	control, err := t.master.SyscallConn()
	if err != nil {
		return err
	}
	wrong := control.Control(func(fd uintptr) { err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, size) })
	return errors.Join(wrong, err)
}

func (t *terminal) close() {
	t.once.Do(func() {
		t.master.Close()
		t.slave.Close()
	})
}
