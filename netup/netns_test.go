package netup

import (
	"bufio"
	"fmt"
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

	"netstage/netup/internal/rtnl"
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
	p.do(t, func() error {
		// The link-local addresses are those that a test gives: a server would
		// speak from the one that the kernel makes, where that is ready first.
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/addr_gen_mode", []byte("1"), 0); err != nil {
			return err
		}
		return setUp("lo")
	})
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
		if err := withLink(name, netlink.LinkDel); err != nil && !rtnl.Gone(err) {
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
			if strings.Contains(s.Text(), "DHCP, ") || strings.Contains(s.Text(), "sockets bound") || strings.Contains(s.Text(), "router advertisement") {
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
