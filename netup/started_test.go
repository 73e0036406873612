package netup

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"netstage/debug/sentence"
	"netstage/netup/internal/rtnl"
)

type lockedLines struct {
	mu sync.Mutex
	l  []string
}

func (l *lockedLines) add(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.l = append(l.l, s)
}

// Write adds what a program prints.
func (l *lockedLines) Write(b []byte) (int, error) {
	l.add(strings.TrimSpace(string(b)))
	return len(b), nil
}

func (l *lockedLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.l, "\n")
}

// logTo returns a logger whose lines are shown when the test fails.
func logTo(t testing.TB) (*slog.Logger, *lockedLines) {
	lines := &lockedLines{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("log:\n" + lines.String())
		}
	})
	return slog.New(sentence.NewHandler(slog.LevelDebug, func(l sentence.Line) error {
		lines.add(l.Level.String() + " " + l.Text)
		return nil
	})), lines
}

// within returns a context that ends a test that hangs.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// up calls Up and takes the network down at the end of the test.
func up(t testing.TB, o Options) *Network {
	t.Helper()
	if o.Log == nil {
		o.Log, _ = logTo(t)
	}
	n, err := Up(within(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return n
}

// started is an Up that runs beside the test.
type started struct {
	n    *Network
	err  error
	done chan struct{}
	log  *lockedLines
}

func start(t testing.TB, o Options) *started {
	t.Helper()
	s := &started{done: make(chan struct{})}
	o.Log, s.log = logTo(t)
	ctx := within(t)
	go func() {
		defer close(s.done)
		s.n, s.err = Up(ctx, o)
	}()
	t.Cleanup(func() {
		<-s.done
		if s.n != nil {
			if err := s.n.Down(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
	return s
}

func (s *started) wait(t testing.TB) *Network {
	t.Helper()
	<-s.done
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.n
}

// until waits for a line of the log.
func (s *started) until(t testing.TB, text string) {
	t.Helper()
	eventually(t, "log line "+text, func() bool { return strings.Contains(s.log.String(), text) })
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}

// addrsOf and routesOf show a link as people write it.
func addrsOf(t testing.TB, name string) []string {
	t.Helper()
	var out []string
	must(withLink(name, func(l netlink.Link) error {
		list, err := netlink.AddrList(l, netlink.FAMILY_V4)
		for _, a := range list {
			out = append(out, a.IPNet.String())
		}
		return err
	}))
	return out
}

func routesOf(t testing.TB, name string) []string {
	t.Helper()
	var out []string
	must(withLink(name, func(l netlink.Link) error {
		list, err := netlink.RouteList(l, netlink.FAMILY_V4)
		for i := range list {
			out = append(out, strings.Replace(rtnl.RouteText(&list[i]), "0.0.0.0/0", "default", 1))
		}
		return err
	}))
	return out
}

func isUp(t testing.TB, name string) bool {
	t.Helper()
	var flags net.Flags
	must(withLink(name, func(l netlink.Link) error { flags = l.Attrs().Flags; return nil }))
	return flags&net.FlagUp != 0
}

func mtuOf(t testing.TB, name string) int {
	t.Helper()
	mtu := 0
	must(withLink(name, func(l netlink.Link) error { mtu = l.Attrs().MTU; return nil }))
	return mtu
}
