package netup

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const inNamespace = "NETUP_TEST_NAMESPACE"

// TestMain runs the tests in a network, mount and PID namespace of their own:
// whatever goroutine of the package opens a socket finds only the links of the
// test, and what a test leaves running dies with it.
func TestMain(m *testing.M) {
	// Fuzzing talks to its workers over inherited files and needs no links.
	fuzzing := slices.ContainsFunc(os.Args, func(a string) bool {
		return strings.HasPrefix(a, "-test.fuzz=") || a == "-test.fuzzworker"
	})
	if os.Getenv(inNamespace) != "" || os.Geteuid() != 0 || fuzzing {
		if os.Getenv(inNamespace) != "" {
			must(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
			must(unix.Mount("proc", "/proc", "proc", 0, ""))
			must(unix.Mount("sysfs", "/sys", "sysfs", 0, ""))
		}
		os.Exit(m.Run())
	}
	runtime.LockOSThread() // Pdeathsig goes with the thread
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	err := cmd.Run()
	if cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, "start the tests in a namespace:", err)
		os.Exit(2)
	}
	os.Exit(cmd.ProcessState.ExitCode())
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func needNamespace(t testing.TB) {
	t.Helper()
	if os.Getenv(inNamespace) == "" {
		t.Skip("needs root, to make network namespaces")
	}
}

// peer is the other end of the wire: a network namespace.
type peer struct{ ns netns.NsHandle }

func newPeer(t testing.TB) *peer {
	t.Helper()
	needNamespace(t)
	p := &peer{}
	var err error
	onThread(func() {
		if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			p.ns, err = netns.Get()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.ns.Close() })
	p.do(t, func() error { return setUp("lo") })
	return p
}

// onThread runs f on a thread that is thrown away after it.
func onThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		f()
	}()
	<-done
}

// do runs f in the peer's namespace. f must not leave work to goroutines.
func (p *peer) do(t testing.TB, f func() error) {
	t.Helper()
	var err error
	onThread(func() {
		if err = netns.Set(p.ns); err == nil {
			err = f()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func setUp(name string) error    { return withLink(name, netlink.LinkSetUp) }
func setDownN(name string) error { return withLink(name, netlink.LinkSetDown) }

func withLink(name string, f func(netlink.Link) error) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return f(l)
}

var nextIndex atomic.Int32

// cable makes a veth pair: name here, still down, and name+"p" in the peer's
// namespace with addr, up.
func (p *peer) cable(t testing.TB, name, addr string) {
	t.Helper()
	la := netlink.NewLinkAttrs()
	la.Name = name
	// With the same index at both ends the kernel takes a veth for a plain
	// device and reports its carrier up to a second late.
	la.Index = 1000 + int(nextIndex.Add(1))
	err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: la, PeerName: name + "p", PeerNamespace: netlink.NsFd(p.ns)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := withLink(name, netlink.LinkDel); err != nil && !gone(err) {
			t.Error(err)
		}
	})
	p.do(t, func() error {
		if addr != "" {
			a, err := netlink.ParseAddr(addr)
			if err != nil {
				return err
			}
			if err := withLink(name+"p", func(l netlink.Link) error { return netlink.AddrAdd(l, a) }); err != nil {
				return err
			}
		}
		return setUp(name + "p")
	})
}

// plug and unplug give and take carrier of the cable's near end.
func (p *peer) plug(t testing.TB, name string) { p.do(t, func() error { return setUp(name + "p") }) }
func (p *peer) unplug(t testing.TB, name string) {
	p.do(t, func() error { return setDownN(name + "p") })
}

// dnsmasq starts the real server in the peer's namespace and returns when it
// listens. The server's log is shown when the test fails.
func (p *peer) dnsmasq(t testing.TB, args ...string) {
	t.Helper()
	path, err := exec.LookPath("dnsmasq")
	if err != nil {
		path = "/usr/sbin/dnsmasq"
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip("needs dnsmasq")
	}
	leases := t.TempDir() + "/leases"
	cmd := exec.Command(path, append([]string{
		"--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--group=root", "--pid-file=",
		"--no-ping", "--no-resolv", "--no-hosts", "--log-facility=-", "--log-dhcp",
		"--dhcp-leasefile=" + leases, "--bind-dynamic",
	}, args...)...)
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.do(t, cmd.Start)
	var lines lockedLines
	ready, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		once := sync.OnceFunc(func() { close(ready) })
		for s := bufio.NewScanner(out); s.Scan(); {
			lines.add(s.Text())
			if strings.Contains(s.Text(), "DHCP, ") || strings.Contains(s.Text(), "sockets bound") {
				once()
			}
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
		cmd.Wait()
		if t.Failed() {
			t.Log("dnsmasq:\n" + lines.String())
		}
	})
	select {
	case <-ready:
	case <-ended:
		t.Fatal("dnsmasq ended:\n" + lines.String())
	case <-time.After(20 * time.Second):
		t.Fatal("dnsmasq does not start:\n" + lines.String())
	}
}

type lockedLines struct {
	mu sync.Mutex
	l  []string
}

func (l *lockedLines) add(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.l = append(l.l, s)
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
	return slog.New(slog.NewTextHandler(writerFunc(func(b []byte) (int, error) {
		lines.add(strings.TrimSpace(string(b)))
		return len(b), nil
	}), &slog.HandlerOptions{Level: slog.LevelDebug})), lines
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

var _ io.Writer = writerFunc(nil)

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
			out = append(out, strings.Replace(routeText(&list[i]), "0.0.0.0/0", "default", 1))
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
