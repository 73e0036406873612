package nsmachine

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// LAN is a network with a bridge, a DHCP server and room for HTTP servers, in a
// network namespace of its own: 10.77.0.1/24, and 2001:db8:77::1/64 for those
// that ask for it.
type LAN struct {
	name string
	dir  string
	port string    // of the last NIC
	dhcp *exec.Cmd // the last server's
}

// Gateway is the address of the LAN's servers.
const Gateway = "10.77.0.1"

var serial atomic.Int64

// NewLAN makes a network that lives as long as the test.
func NewLAN(t testing.TB) *LAN {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	l := &LAN{name: fmt.Sprintf("ns%d-%d", os.Getpid(), serial.Add(1)), dir: t.TempDir()}
	run(t, "ip", "netns", "add", l.name)
	t.Cleanup(func() { run(t, "ip", "netns", "del", l.name) })
	l.run(t, "ip", "link", "set", "lo", "up")
	l.run(t, "ip", "link", "add", "br0", "type", "bridge")
	l.run(t, "ip", "addr", "add", Gateway+"/24", "dev", "br0")
	l.run(t, "ip", "link", "set", "br0", "up")
	return l
}

func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

func (l *LAN) run(t testing.TB, args ...string) {
	t.Helper()
	run(t, "ip", append([]string{"netns", "exec", l.name}, args...)...)
}

// Plug connects a machine, given by a process of it, by a NIC, whose hardware
// address is the kernel's choice where mac is empty.
func (l *LAN) Plug(t testing.TB, pid int, nic, mac string) {
	t.Helper()
	port := fmt.Sprintf("p%d", serial.Add(1))
	peer := []string{"peer", "name", nic}
	if mac != "" {
		peer = append(peer, "address", mac)
	}
	l.run(t, slices.Concat([]string{"ip", "link", "add", port, "type", "veth"}, peer, []string{"netns", fmt.Sprint(pid)})...)
	l.run(t, "ip", "link", "set", port, "master", "br0", "up")
	l.port = port
}

// ready sets the NIC plugged last up, and waits until its port forwards: the
// kernel gets round to that within a second, and what is sent before is lost.
func (l *LAN) ready(t testing.TB, pid int, nic string) {
	t.Helper()
	run(t, "nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", pid), "ip", "link", "set", nic, "up")
	for range 1000 {
		state, err := l.Command("cat", "/sys/class/net/"+l.port+"/brport/state").Output()
		if err == nil && strings.TrimSpace(string(state)) == "3" { // BR_STATE_FORWARDING
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("the port of %s does not forward", nic)
}

// Cable takes the cable of the NIC plugged last out, and puts it in.
func (l *LAN) Cable(t testing.TB, in bool) {
	t.Helper()
	if err := l.TryCable(in); err != nil {
		t.Fatal(err)
	}
}

// TryCable is Cable for a machine that may have ended, and its NIC with it.
func (l *LAN) TryCable(in bool) error {
	out, err := l.Command("ip", "link", "set", l.port, map[bool]string{true: "up", false: "down"}[in]).CombinedOutput()
	if err != nil {
		return fmt.Errorf("the cable of %s: %w, %s", l.port, err, out)
	}
	return nil
}

// Gateway6 is the address of the LAN's servers by IPv6, where it has that.
const Gateway6 = "2001:db8:77::1"

// DHCP starts dnsmasq for IPv4, with further options, until the test ends.
func (l *LAN) DHCP(t testing.TB, options ...string) {
	t.Helper()
	l.dnsmasq(t, append([]string{"--dhcp-authoritative", "--dhcp-range=10.77.0.10,10.77.0.99,1h", "--address=/server.test/" + Gateway}, options...)...)
}

// DHCP6 starts dnsmasq for IPv6 alone, as a router that leaves addresses to its
// DHCPv6 server, with further options, until the test ends.
func (l *LAN) DHCP6(t testing.TB, options ...string) {
	t.Helper()
	l.IPv6(t)
	l.dnsmasq(t, append([]string{"--enable-ra", "--dhcp-range=2001:db8:77::10,2001:db8:77::99,64,1h", "--address=/server.test/" + Gateway6}, options...)...)
}

// IPv6 gives the LAN's server addresses of IPv6: Gateway6 and fe80::77.
func (l *LAN) IPv6(t testing.TB) {
	t.Helper()
	for _, addr := range []string{Gateway6 + "/64", "fe80::77/64"} {
		l.run(t, "ip", "addr", "add", addr, "dev", "br0", "nodad")
	}
}

func (l *LAN) dnsmasq(t testing.TB, options ...string) {
	t.Helper()
	pid := filepath.Join(l.dir, fmt.Sprintf("dnsmasq%d.pid", serial.Add(1)))
	args := append([]string{
		"netns", "exec", l.name, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--no-ping",
		"--interface=br0", "--bind-interfaces", "--user=root",
		"--dhcp-leasefile=" + filepath.Join(l.dir, "leases"), "--pid-file=" + pid,
	}, options...)
	cmd := exec.Command("ip", args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l.dhcp = cmd
	t.Cleanup(func() {
		cmd.Process.Kill() // "ip netns exec" has become dnsmasq
		cmd.Wait()
	})
	for range 500 {
		if _, err := os.Stat(pid); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("dnsmasq does not start")
}

// KillDHCP ends the DHCP server that was started last.
func (l *LAN) KillDHCP() {
	if l.dhcp != nil {
		l.dhcp.Process.Kill()
		l.dhcp.Wait()
		l.dhcp = nil
	}
}

// Command is a program on the LAN's server.
func (l *LAN) Command(name string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", l.name, name}, args...)...)
}

// Firewall has the LAN's server filter its packets by the chains of an
// nftables table, for as long as the test.
func (l *LAN) Firewall(t testing.TB, chains string) {
	t.Helper()
	file := filepath.Join(l.dir, "nftables")
	if err := os.WriteFile(file, []byte("table inet test {"+chains+"\n}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	l.run(t, "nft", "-f", file)
}

// Tap makes a port of the LAN whose frames are read from and written to a
// file, until the test ends.
func (l *LAN) Tap(t testing.TB) *os.File {
	t.Helper()
	name := fmt.Sprintf("t%d", serial.Add(1))
	request, err := unix.NewIfreq(name)
	if err != nil {
		t.Fatal(err)
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	var tap *os.File
	l.within(t, func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("open /dev/net/tun: %w", err)
		}
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
			unix.Close(fd)
			return fmt.Errorf("make the tap %s: %w", name, err)
		}
		tap = os.NewFile(uintptr(fd), name)
		return nil
	})
	t.Cleanup(func() { tap.Close() })
	l.run(t, "ip", "link", "set", name, "master", "br0", "up")
	return tap
}

// Listen opens a TCP port of the LAN's server; ":0" picks one.
func (l *LAN) Listen(t testing.TB, address string) (listener net.Listener) {
	t.Helper()
	l.within(t, func() (err error) {
		listener, err = net.Listen("tcp", address)
		return err
	})
	return listener
}

// ListenPacket opens a UDP port of the LAN's server.
func (l *LAN) ListenPacket(t testing.TB, address string) (conn net.PacketConn) {
	t.Helper()
	l.within(t, func() (err error) {
		conn, err = net.ListenPacket("udp4", address)
		return err
	})
	return conn
}

// Dial connects to a TCP port of the LAN.
func (l *LAN) Dial(t testing.TB, address string) (conn net.Conn, err error) {
	t.Helper()
	l.within(t, func() error {
		conn, err = net.Dial("tcp4", address)
		return nil
	})
	return conn, err
}

// within calls open in the LAN's namespace.
func (l *LAN) within(t testing.TB, open func() error) {
	t.Helper()
	opened := make(chan error)
	go func() {
		// Not unlocked: the thread has changed its namespace, and ends.
		runtime.LockOSThread()
		ns, err := netns.GetFromName(l.name)
		if err == nil {
			defer ns.Close()
			err = netns.Set(ns)
		}
		if err == nil {
			err = open()
		}
		opened <- err
	}()
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
}

// Serve answers HTTP at http://10.77.0.1:PORT/, which it returns.
func (l *LAN) Serve(t testing.TB, handler http.Handler) string {
	t.Helper()
	listener := l.Listen(t, Gateway+":0")
	server := &http.Server{Handler: handler}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Serve(listener)
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	return "http://" + listener.Addr().String() + "/"
}
