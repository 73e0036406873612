package uevent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// receiveBuffer holds about 30,000 events, more than a large machine sends
// while its drivers start.
const receiveBuffer = 16 << 20

// group is the multicast group of the kernel's own messages; udev's are
// in group 2.
const group = 1

// A Socket is a bound NETLINK_KOBJECT_UEVENT socket. Events are kept by the
// kernel from the moment it is open.
type Socket struct{ f *os.File }

// Open opens one.
func Open() (*Socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, fmt.Errorf("listen for devices: socket: %w", err)
	}
	// Without CAP_NET_ADMIN the plain option gives as much as is allowed.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: group}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("listen for devices: bind: %w", err)
	}
	return &Socket{os.NewFile(uintptr(fd), "uevents")}, nil
}

// Receive calls f with every event till the context ends, which is no error.
func (s *Socket) Receive(ctx context.Context, log *slog.Logger, f func(Event)) error {
	stop := context.AfterFunc(ctx, func() { _ = s.f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	raw, err := s.f.SyscallConn()
	if err != nil {
		return fmt.Errorf("listen for devices: %w", err)
	}
	buf := make([]byte, 16<<10) // UEVENT_BUFFER_SIZE is 2 KiB
	for ctx.Err() == nil {
		var n int
		var from unix.Sockaddr
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			n, from, failed = unix.Recvfrom(int(fd), buf, 0)
			return failed != unix.EAGAIN && failed != unix.EINTR
		})
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return fmt.Errorf("listen for devices: %w", err)
		case failed == unix.ENOBUFS:
			log.Debug("device events were lost, looking at all devices again")
			f(Event{Action: Lost})
			continue
		case failed != nil:
			return fmt.Errorf("listen for devices: receive: %w", failed)
		}
		// Port 0 is the kernel; any process may send to us.
		if sender, ok := from.(*unix.SockaddrNetlink); !ok || sender.Pid != 0 {
			continue
		}
		if e, ok := Parse(buf[:n]); ok {
			f(e)
		}
	}
	return nil
}

// Close closes the socket.
func (s *Socket) Close() { s.f.Close() }

// Listen calls f with every event of the kernel about a device till the
// context ends, which is no error. An event with the action Lost says that
// some were lost; so does the first one, for what came before. f runs in the
// calling goroutine.
func Listen(ctx context.Context, log *slog.Logger, f func(Event)) error {
	s, err := Open()
	if err != nil {
		return err
	}
	defer s.Close()
	f(Event{Action: Lost})
	return s.Receive(ctx, log, f)
}
