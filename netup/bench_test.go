package netup

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// udhcpcScript is what busybox udhcpc needs to configure a link.
const udhcpcScript = `#!/bin/busybox sh
case $1 in
deconfig) busybox ip link set $interface up ;;
bound|renew)
	busybox ip addr add $ip/$mask dev $interface
	for r in $router; do busybox ip route add default via $r dev $interface; done ;;
esac
`

// BenchmarkLease measures from a link that is down to one that is configured,
// in turns with busybox udhcpc on the same cable and server.
func BenchmarkLease(b *testing.B) {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		b.Skip("needs busybox")
	}
	p := newPeer(b)
	p.cable(b, "eth0", "10.1.0.1/24")
	p.dnsmasq(b, "--port=0", "--dhcp-range=10.1.0.50,10.1.0.60,1h")
	script := filepath.Join(b.TempDir(), "script")
	if err := os.WriteFile(script, []byte(udhcpcScript), 0o755); err != nil {
		b.Fatal(err)
	}
	reset := func() {
		if err := withLink("eth0", func(l netlink.Link) error {
			log := slog.New(slog.DiscardHandler)
			k, index := newKernel(log), l.Attrs().Index
			defer k.Close()
			return errors.Join(k.flush(index, "eth0"), k.setDown(index, "eth0"))
		}); err != nil {
			b.Fatal(err)
		}
	}
	var ours, theirs []time.Duration
	for b.Loop() {
		reset()
		t := time.Now()
		n, err := Up(context.Background(), Options{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.Fatal(err)
		}
		ours = append(ours, time.Since(t))
		n.Close()
		reset()
		t = time.Now()
		if out, err := exec.Command(busybox, "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-s", script).CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		theirs = append(theirs, time.Since(t))
	}
	reset()
	slices.Sort(ours)
	slices.Sort(theirs)
	mine, other := ours[len(ours)/2], theirs[len(theirs)/2]
	b.ReportMetric(float64(mine.Microseconds())/1000, "ms/netup")
	b.ReportMetric(float64(other.Microseconds())/1000, "ms/udhcpc")
	b.ReportMetric(float64(mine)/float64(other), "ratio")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkSixteenLinks measures one live link among sixteen, in turns with one
// alone.
func BenchmarkSixteenLinks(b *testing.B) {
	live := newPeer(b)
	live.cable(b, "eth0", "10.1.0.1/24")
	live.dnsmasq(b, "--port=0", "--dhcp-range=10.1.0.50,10.1.0.60,1h")
	lease := func() time.Duration {
		t := time.Now()
		n, err := Up(context.Background(), Options{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.Fatal(err)
		}
		took := time.Since(t)
		if err := n.Down(context.Background()); err != nil {
			b.Fatal(err)
		}
		return took
	}
	sample := func() time.Duration {
		var all []time.Duration
		for range 20 {
			all = append(all, lease())
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	for b.Loop() {
		one := sample()
		dead := newPeer(b)
		for i := range 15 {
			dead.cable(b, "dead"+string(rune('a'+i)), "")
		}
		many := sample()
		b.ReportMetric(float64(one.Microseconds())/1000, "ms/one")
		b.ReportMetric(float64(many.Microseconds())/1000, "ms/sixteen")
		b.ReportMetric(float64(many)/float64(one), "ratio")
		for i := range 15 {
			withLink("dead"+string(rune('a'+i)), netlink.LinkDel)
		}
	}
}
