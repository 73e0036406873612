// Package sshd serves a shell by SSH to the holders of some keys. It knows
// sessions with a terminal and commands, and nothing else of the protocol: no
// passwords, no forwarding, no subsystems.
package sshd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// Options says who is served and what they get.
type Options struct {
	Keys Keys
	// Exe runs as "sh", without arguments or with -c COMMAND.
	Exe string
	// Env is its environment, NAME=value.
	Env []string
	// Greeting is written to a terminal before its shell.
	Greeting string
	// Farewell is written to terminals whose shells are ended with the server.
	Farewell string
	// LoggedIn is told how many people are logged in when that changes; never
	// by two goroutines at once.
	LoggedIn func(int)
	Log      *slog.Logger
}

// Limits of a server that knows a handful of people.
const (
	maxConnections = 16 // logged in
	maxSessions    = 8  // of one connection
	loginTime      = 30 * time.Second
	aliveEvery     = 15 * time.Second // a connection whose other end does not answer for twice that is closed
)

// Serve answers on l until the context ends, and closes it. Nothing that it
// started is left when it returns: no connection, no process of a session but
// those that made themselves independent. The error is that of a listener which
// failed before the context ended.
func Serve(ctx context.Context, l net.Listener, o Options) error {
	o.Log = o.Log.With("what", "ssh")
	s := &server{Options: o, config: o.Keys.config()}
	var all sync.WaitGroup
	defer all.Wait()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return nil
		}
		if err != nil {
			l.Close()
			return fmt.Errorf("ssh: %w", err)
		}
		s.waiting.add(conn)
		all.Go(func() { s.connection(ctx, conn) })
	}
}

type server struct {
	Options
	config  *ssh.ServerConfig
	waiting waiting

	mu       sync.Mutex
	loggedIn int
	refused  int
}

// connection serves one client from its first byte to its last.
func (s *server) connection(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn.SetDeadline(time.Now().Add(loginTime))
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	client, channels, requests, err := ssh.NewServerConn(conn, s.config)
	s.waiting.remove(conn)
	if err != nil {
		s.tellRefused(conn.RemoteAddr(), err)
		return
	}
	if !stop() {
		return
	}
	conn.SetDeadline(time.Time{})
	s.Log.Warn(fmt.Sprintf("%s logged in with key %s", conn.RemoteAddr(), client.Permissions.Extensions[fingerprint]))
	if !s.count(1) {
		s.Log.Warn("too many are logged in")
		s.count(-1)
		client.Close()
		return
	}
	defer s.count(-1)
	defer s.Log.Info(fmt.Sprintf("%s logged out", conn.RemoteAddr()))

	var parts sync.WaitGroup
	defer parts.Wait()
	defer client.Close()
	parts.Go(func() {
		ssh.DiscardRequests(requests) // forwarding, above all
		cancel()                      // the connection is gone
	})
	parts.Go(func() { keepAlive(ctx, client) })
	sessions := 0
	ended := make(chan struct{}, maxSessions)
	for {
		select {
		case <-ended:
			sessions--
		case <-ctx.Done():
			// They hang up and say farewell, unless nobody reads it.
			stuck := time.AfterFunc(2*killAfter, func() { client.Close() })
			defer stuck.Stop()
			for ; sessions > 0; sessions-- {
				<-ended
			}
			return
		case offered, ok := <-channels:
			switch {
			case !ok:
				channels = nil
				cancel()
			case offered.ChannelType() != "session":
				offered.Reject(ssh.Prohibited, "there are sessions here and nothing else")
			case sessions == maxSessions:
				offered.Reject(ssh.ResourceShortage, "too many sessions")
			default:
				channel, requests, err := offered.Accept()
				if err != nil {
					continue
				}
				sessions++
				parts.Go(func() {
					s.session(ctx, channel, requests, &parts)
					ended <- struct{}{}
				})
			}
		}
	}
}

// keepAlive closes a connection whose other end is gone without a word:
// somebody who is logged in may keep a machine from its reboot.
func keepAlive(ctx context.Context, client ssh.Conn) {
	ticker := time.NewTicker(aliveEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		dead := time.AfterFunc(aliveEvery, func() { client.Close() })
		_, _, err := client.SendRequest("keepalive@openssh.com", true, nil) // any answer will do
		dead.Stop()
		if err != nil {
			return
		}
	}
}

// count counts who is logged in, and tells whether that may be.
func (s *server) count(change int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loggedIn += change
	if s.LoggedIn != nil {
		s.LoggedIn(s.loggedIn)
	}
	return s.loggedIn <= maxConnections
}

// tellRefused logs who did not get in, without letting them fill the log.
func (s *server) tellRefused(from net.Addr, err error) {
	text := err.Error()
	const most = 200
	if len(text) > most {
		text = text[:most] + "…" // it holds what the other side sent
	}
	if errors.Is(err, io.EOF) {
		return // somebody knocked: a check of the port
	}
	s.mu.Lock()
	s.refused++
	n := s.refused
	s.mu.Unlock()
	switch {
	case n < 20:
		s.Log.Warn(fmt.Sprintf("%s was not let in: %s", from, text))
	case n%100 == 20:
		s.Log.Warn(fmt.Sprintf("%d connections were not let in, the last from %s", n, from))
	}
}
