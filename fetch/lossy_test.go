package fetch

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netstage/fetch/store"
)

// link is a network namespace with a line that loses and delays packets. It is
// one TUN device, where all that is sent to there comes back from there: the
// two addresses of a packet change places, which leaves its checksums right.
type link struct {
	ns *os.File
}

const (
	linkHere  = "10.9.0.1" // where servers listen
	linkThere = "10.9.0.2" // where they are found by way of the line
)

// newLink makes a line that delays every packet, each way, and loses one in so
// many; 0: none.
func newLink(b testing.TB, delay time.Duration, oneIn int) *link {
	b.Helper()
	l := &link{}
	var tun *os.File
	var err error
	run := func(args ...string) {
		if out, e := exec.Command("ip", args...).CombinedOutput(); e != nil && err == nil {
			err = e
			b.Logf("ip %v: %s", args, out)
		}
	}
	onThread(func() {
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return
		}
		if l.ns, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return
		}
		var fd int
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err != nil {
			return
		}
		var ifr *unix.Ifreq
		if ifr, err = unix.NewIfreq("lossy"); err != nil {
			return
		}
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		if err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
			return
		}
		tun = os.NewFile(uintptr(fd), "tun")
		run("addr", "add", linkHere+"/24", "dev", "lossy")
		run("link", "set", "lossy", "up", "txqueuelen", "10000")
		run("link", "set", "lo", "up")
	})
	if err != nil {
		b.Fatalf("a lossy line: %v", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		carry(tun, delay, oneIn)
	}()
	b.Cleanup(func() { tun.Close(); <-ended; l.ns.Close() })
	return l
}

// carry takes packets from the line's one end to the other until it is closed.
func carry(tun *os.File, delay time.Duration, oneIn int) {
	type packet struct {
		due  time.Time
		data []byte
	}
	line := make(chan packet, 100_000)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for p := range line {
			time.Sleep(time.Until(p.due))
			_, _ = tun.Write(p.data) // what can't be delivered is lost
		}
	}()
	defer func() { close(line); <-ended }()
	dice := rand.New(rand.NewPCG(3, 4))
	buf := make([]byte, 1<<16)
	for {
		n, err := tun.Read(buf)
		if err != nil {
			return
		}
		if n < 20 || buf[0]>>4 != 4 || oneIn > 0 && dice.IntN(oneIn) == 0 {
			continue
		}
		data := append([]byte(nil), buf[:n]...)
		copy(data[12:16], buf[16:20])
		copy(data[16:20], buf[12:16])
		line <- packet{time.Now().Add(delay), data}
	}
}

// onThread runs f on a thread of its own, which ends with it.
func onThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked
		f()
	}()
	<-done
}

// in runs f in the namespace.
func (l *link) in(f func()) (err error) {
	onThread(func() {
		if err = unix.Setns(int(l.ns.Fd()), unix.CLONE_NEWNET); err == nil {
			f()
		}
	})
	return err
}

func (l *link) dial(ctx context.Context, network, addr string) (c net.Conn, err error) {
	if e := l.in(func() { c, err = new(net.Dialer).DialContext(ctx, network, addr) }); e != nil {
		return nil, e
	}
	return c, err
}

// listenCubic listens with the congestion control that nearly every server has:
// BBR does not mind a few losses.
func listenCubic(addr string) (net.Listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, socket syscall.RawConn) error {
		var err error
		if e := socket.Control(func(fd uintptr) { err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "cubic") }); e != nil {
			return e
		}
		return err
	}}
	return config.Listen(context.Background(), "tcp", addr)
}

// BenchmarkLossy downloads over a line with 1 % loss and 20 ms from end to end
// and back, where a TCP stream is slow however much the line has room for.
func BenchmarkLossy(b *testing.B) {
	const mib = 16
	content := imageBytes(mib << 20)
	served := tmpfs(b, "size=64m")
	if err := os.WriteFile(filepath.Join(served, "image"), content, 0o644); err != nil {
		b.Fatal(err)
	}
	l := newLink(b, 10*time.Millisecond, 100)
	var listener net.Listener
	var err error
	if e := l.in(func() { listener, err = listenCubic(linkHere + ":80") }); e != nil || err != nil {
		b.Fatal(e, err)
	}
	server := &http.Server{Handler: http.FileServer(http.Dir(served))}
	go func() { _ = server.Serve(listener) }() // until Close
	b.Cleanup(func() { server.Close() })
	const url = "http://" + linkThere + "/image"
	var curl, get []float64
	for b.Loop() {
		dir := tmpfs(b, "size=64m")
		start := time.Now()
		if err := l.in(func() { command(b, dir, "curl", "-sSf", "-o", "image", url) }); err != nil {
			b.Fatal(err)
		}
		curl = append(curl, time.Since(start).Seconds())
		start = time.Now()
		image, err := Get(b.Context(), Request{
			Mirrors: mirrors(url), SHA256: sum(content), Dial: l.dial, Store: store.Memory(filepath.Join(dir, "m")), Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			b.Fatal(err)
		}
		get = append(get, time.Since(start).Seconds())
		if err := image.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(mib*1.048576/median(curl), "curl-MB/s")
	b.ReportMetric(mib*1.048576/median(get), "get-sha256-MB/s")
	b.ReportMetric(median(curl)/median(get), "x-of-curl")
	b.ReportMetric(0, "ns/op")
}
