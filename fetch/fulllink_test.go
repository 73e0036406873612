package fetch

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netstage/fetch/verity"

	"netstage/fetch/store"
)

// shapedLink is two network namespaces and a cable between them, whose rate
// towards the client is limited by the kernel (tc-tbf(8)).
type shapedLink struct{ server, client link }

const shapedServer, shapedClient = "10.8.0.1", "10.8.0.2"

func newShapedLink(b testing.TB, rate string) *shapedLink {
	b.Helper()
	l := &shapedLink{}
	open := func(ns *link, first func()) {
		onThread(func() {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				b.Error(err)
				return
			}
			var err error
			if ns.ns, err = os.Open("/proc/thread-self/ns/net"); err != nil {
				b.Error(err)
				return
			}
			first()
		})
		if b.Failed() {
			b.FailNow()
		}
		b.Cleanup(func() { ns.ns.Close() })
	}
	run := func(args ...string) {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			b.Errorf("%v: %v: %s", args, err, out)
		}
	}
	open(&l.server, func() {
		run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "down0")
	})
	open(&l.client, func() {})
	if err := l.server.in(func() {
		// The file is inherited as the child's third descriptor.
		cmd := exec.Command("ip", "link", "set", "down0", "netns", "/proc/self/fd/3")
		cmd.ExtraFiles = []*os.File{l.client.ns}
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Errorf("%v: %s", err, out)
		}
		run("ip", "addr", "add", shapedServer+"/24", "dev", "up0")
		run("ip", "link", "set", "up0", "up")
		run("ip", "link", "set", "lo", "up") // to itself: a cache and its origin
		run("tc", "qdisc", "add", "dev", "up0", "root", "tbf", "rate", rate, "burst", "256kb", "latency", "50ms")
	}); err != nil {
		b.Fatal(err)
	}
	if err := l.client.in(func() {
		run("ip", "addr", "add", shapedClient+"/24", "dev", "down0")
		run("ip", "link", "set", "down0", "up")
	}); err != nil || b.Failed() {
		b.Fatal(err)
	}
	return l
}

// carried is how many bytes came to the client, headers included.
func (l *shapedLink) carried(b testing.TB) (n int64) {
	b.Helper()
	err := l.client.in(func() {
		text, err := os.ReadFile("/proc/thread-self/net/dev")
		if err != nil {
			b.Error(err)
		}
		_, rest, _ := strings.Cut(string(text), "down0:")
		if f := strings.Fields(rest); len(f) > 0 {
			n, _ = strconv.ParseInt(f[0], 10, 64)
		}
	})
	if err != nil || n == 0 {
		b.Fatalf("down0 carried %d bytes: %v", n, err)
	}
	return n
}

// serve serves an image as /image, at the port for http, and returns its tree.
func (l *shapedLink) serve(b testing.TB, content []byte) *verity.Tree {
	b.Helper()
	tree := treeOf(b, content)
	var listener net.Listener
	var err error
	if e := l.server.in(func() { listener, err = listenCubic(shapedServer + ":80") }); e != nil || err != nil {
		b.Fatal(e, err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		http.ServeContent(w, r, "image", time.Time{}, bytes.NewReader(content))
	})}
	go func() { _ = server.Serve(listener) }() // until Close
	b.Cleanup(func() { server.Close() })
	return tree
}

// dial is a Request's, for the client.
func (l *shapedLink) dial(ctx context.Context, network, addr string) (c net.Conn, err error) {
	if e := l.client.in(func() { c, err = new(net.Dialer).DialContext(ctx, network, addr) }); e != nil {
		return nil, e
	}
	return c, err
}

// BenchmarkFullLink downloads over links that one stream fills, where further
// streams are tried in vain, and tells how many bytes came for each of the
// image, and how many of them the link carried, with few headers: the kernel
// hands packets of 64 KiB over a cable of its own.
func BenchmarkFullLink(b *testing.B) {
	for _, c := range []struct {
		rate string
		mib  int64
	}{{"10mbit", 48}, {"100mbit", 350}, {"1gbit", 2355}} {
		b.Run(c.rate, func(b *testing.B) {
			l := newShapedLink(b, c.rate)
			tree := l.serve(b, imageBytes(int(c.mib<<20)))
			for b.Loop() {
				dir := tmpfs(b, "size=90%")
				before := l.carried(b)
				image, err := Get(b.Context(), Request{Mirrors: mirrors(fmt.Sprintf("http://%s/image", shapedServer)), Verify: tree.Verifier(2),
					Size: tree.Size(), Dial: l.dial, Store: store.Memory(filepath.Join(dir, "m")), Log: slog.New(slog.DiscardHandler)})
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(image.Stats.Received)/float64(image.Size), "received/byte")
				b.ReportMetric(float64(l.carried(b)-before)/float64(image.Size), "carried/byte")
				b.ReportMetric(image.Stats.Duration.Seconds(), "s")
				b.ReportMetric(float64(image.Stats.Restarts), "restarts")
				if over := image.Stats.Received - image.Size; over > image.Size/100 {
					b.Errorf("%d bytes too many, %+v", over, image.Stats)
				}
				if err := image.Close(); err != nil {
					b.Fatal(err)
				}
				_ = unix.Unmount(dir, unix.MNT_DETACH)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}
