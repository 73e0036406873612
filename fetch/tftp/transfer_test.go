package tftp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"
)

func fileOf(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}

// Whatever the server grants, and whatever the network loses, doubles or
// reorders, the file is whole.
func TestTransfer(t *testing.T) {
	every := func(n, fate int) func(int) int {
		return func(packet int) int {
			if packet%n == 0 {
				return fate
			}
			return 0
		}
	}
	for name, s := range map[string]*server{
		"all options":              {file: fileOf(300_000)},
		"whole blocks":             {file: fileOf(1408 * 64)},
		"empty":                    {},
		"one byte":                 {file: fileOf(1)},
		"server without options":   {file: fileOf(10_000), ignore: true},
		"server refuses options":   {file: fileOf(10_000), refuse: true},
		"fewer granted":            {file: fileOf(30_000), grant: options{block: 1000, window: 3, size: -1}},
		"no window":                {file: fileOf(30_000), grant: options{block: 1408, window: 1, size: 30_000}},
		"more blocks than numbers": {file: fileOf(8 * 70_000), grant: options{block: 8, window: 32, size: 8 * 70_000}},
		"lost blocks":              {file: fileOf(200_000), drop: every(50, 1)},
		"doubled blocks":           {file: fileOf(200_000), drop: every(3, -1)},
		"reordered blocks":         {file: fileOf(200_000), drop: every(20, -2)},
		"doubled, no window":       {file: fileOf(20_000), grant: options{block: 512, window: 1, size: -1}, drop: every(2, -1)},
		"request lost":             {file: fileOf(1000), silent: 1},
	} {
		for _, address := range []string{"127.0.0.1", "[::1]"} {
			t.Run(name+" "+address, func(t *testing.T) {
				t.Parallel()
				s := &server{file: s.file, ignore: s.ignore, refuse: s.refuse, grant: s.grant, silent: s.silent, drop: s.drop}
				transfer, err := open(t, s.start(t, address))
				if err != nil {
					t.Fatal(err)
				}
				defer transfer.Close()
				if told := !s.ignore && !s.refuse && s.grant.size >= 0; told != (transfer.Size == int64(len(s.file))) && len(s.file) > 0 {
					t.Errorf("size %d", transfer.Size)
				}
				got, err := io.ReadAll(transfer)
				if err != nil || !bytes.Equal(got, s.file) {
					t.Errorf("%d bytes of %d, %v", len(got), len(s.file), err)
				}
				if first := s.log()[0]; first != "\x00\x01dir/image\x00octet\x00tsize\x000\x00blksize\x001408\x00windowsize\x0032\x00" {
					t.Errorf("asked by %q", first)
				}
			})
		}
	}
}

// An ack is sent for each window, not for each block.
func TestWindowsAreAcked(t *testing.T) {
	s := &server{file: fileOf(1408*64 + 1)}
	transfer, err := open(t, s.start(t, "127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	defer transfer.Close()
	if _, err := io.ReadAll(transfer); err != nil {
		t.Fatal(err)
	}
	s.received(t, 5) // the last one is on its way when the file is complete
	if got := strings.Join(s.log()[1:], " "); got != "\x00\x04\x00\x00 \x00\x04\x00\x20 \x00\x04\x00\x40 \x00\x04\x00\x41" {
		t.Errorf("%q", got)
	}
}

func TestErrors(t *testing.T) {
	t.Run("not found", func(t *testing.T) {
		_, err := open(t, (&server{answer: &Error{NotFound, "no such file"}}).start(t, "127.0.0.1"))
		var refused *Error
		if !errors.As(err, &refused) || refused.Code != NotFound || !strings.Contains(err.Error(), "no such file") {
			t.Errorf("%v", err)
		}
	})
	t.Run("options that were not asked for", func(t *testing.T) {
		s := &server{file: fileOf(100), grant: options{block: 9000, window: 1}}
		if _, err := open(t, s.start(t, "127.0.0.1")); err == nil || !strings.Contains(err.Error(), "BLKSIZE=9000 was not asked for") {
			t.Errorf("%v", err)
		}
	})
	t.Run("the context ends", func(t *testing.T) {
		s := &server{file: fileOf(100_000), after: 3}
		at := s.start(t, "127.0.0.1")
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		transfer, err := Open(ctx, conn, at, "x")
		if err != nil {
			t.Fatal(err)
		}
		defer transfer.Close()
		why := errors.New("enough")
		time.AfterFunc(50*time.Millisecond, func() { cancel(why) })
		if got, err := io.ReadAll(transfer); !errors.Is(err, why) || len(got) != 3*1408 {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
	t.Run("stopped", func(t *testing.T) {
		s := &server{file: fileOf(100_000)}
		transfer, err := open(t, s.start(t, "127.0.0.1"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(transfer, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		if err := transfer.Close(); err != nil {
			t.Fatal(err)
		}
		s.conn.Close()
		s.done.Wait() // it ended by itself
		if log := s.log(); !strings.HasPrefix(log[len(log)-1], "\x00\x05\x00\x00") {
			t.Errorf("%q", log)
		}
	})
	t.Run("a stranger", func(t *testing.T) {
		s := &server{file: fileOf(100_000), after: 40}
		transfer, err := open(t, s.start(t, "127.0.0.1"))
		if err != nil {
			t.Fatal(err)
		}
		defer transfer.Close()
		stranger, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer stranger.Close()
		if _, err := io.ReadFull(transfer, make([]byte, 40*1408)); err != nil {
			t.Fatal(err)
		}
		if _, err := stranger.WriteTo(append([]byte{0, opData, 0, 41}, "wrong"...), transfer.conn.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		heard := make(chan string, 1)
		go func() {
			buf := make([]byte, 100)
			_ = stranger.SetReadDeadline(time.Now().Add(10 * time.Second))
			n, _, _ := stranger.ReadFrom(buf)
			heard <- string(buf[:n])
			transfer.stop()
			_ = transfer.conn.Close()
		}()
		if n, err := transfer.Read(make([]byte, 10)); n != 0 || err == nil {
			t.Errorf("%d bytes of somebody else, %v", n, err)
		}
		if got := <-heard; !strings.HasPrefix(got, "\x00\x05\x00\x05") {
			t.Errorf("the stranger hears %q", got)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("\x00\x03\x00\x01data"))
	f.Add([]byte("\x00\x05\x00\x01gone\x00"))
	f.Add([]byte("\x00\x06tsize\x00100\x00blksize\x001000\x00windowsize\x004\x00"))
	f.Add([]byte("\x00\x06tsize\x00-1\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parse(b)
		if err != nil {
			return
		}
		if p.op == opError && p.err.Error() == "" || p.op != opError && p.err != nil {
			t.Errorf("%q: %+v", b, p)
		}
		if o, err := parseOptions(p.data, wanted); err == nil && (o.block < 8 || o.block > wanted.block || o.window < 1 || o.window > wanted.window || o.size < -1) {
			t.Errorf("%q: %+v", b, o)
		}
	})
}
