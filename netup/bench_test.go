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
	"golang.org/x/sys/unix"

	"netstage/netup/internal/rtnl"
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

// dhcpcdConf has dhcpcd do what is compared, without its waits: the one before
// its first message, against storms, and the one for duplicates.
const dhcpcdConf = `nodelay
noarp
noipv4ll
ipv4only
nohook resolv.conf, hostname, timesyncd
option subnet_mask, routers
`

// contender is a DHCP client that configures eth0.
type contender struct {
	name   string
	lease  func()
	forget func() // what it remembers of leases
}

func contenders(b *testing.B) []contender {
	b.Helper()
	find := func(name string) string {
		path, err := exec.LookPath(name)
		if err != nil {
			path = "/usr/sbin/" + name
		}
		if _, err := os.Stat(path); err != nil {
			b.Skip("needs " + name)
		}
		return path
	}
	run := func(name string, args ...string) func() {
		path := find(name)
		return func() {
			if out, err := exec.Command(path, args...).CombinedOutput(); err != nil {
				b.Fatalf("%s: %v\n%s", name, err, out)
			}
		}
	}
	dir := b.TempDir()
	script, conf := filepath.Join(dir, "script"), filepath.Join(dir, "dhcpcd.conf")
	must(os.WriteFile(script, []byte(udhcpcScript), 0o755))
	must(os.WriteFile(conf, []byte(dhcpcdConf), 0o644))
	// Its folders are fixed; these mounts are of the tests' own namespace.
	for _, dir := range []string{"/var/lib/dhcpcd", "/run/dhcpcd"} {
		must(os.MkdirAll(dir, 0o755))
		must(unix.Mount("bench", dir, "tmpfs", 0, ""))
		b.Cleanup(func() { must(unix.Unmount(dir, unix.MNT_DETACH)) })
	}
	return []contender{
		{"udhcpc", run("busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-s", script), func() {}},
		{"dhcpcd", run("dhcpcd", "-4", "-1", "-B", "-q", "-w", "-f", conf, "-c", "/bin/true", "eth0"),
			func() { os.Remove("/var/lib/dhcpcd/eth0.lease") }},
	}
}

// BenchmarkLease measures from a link that is down to the default route that
// comes last of all, in turns with busybox udhcpc and dhcpcd on the same cable
// and server.
func BenchmarkLease(b *testing.B) {
	p := newPeer(b)
	all := append(contenders(b), contender{"netup", func() {
		n, err := Up(context.Background(), Options{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.Fatal(err)
		}
		n.Close()
	}, func() {}})
	p.cable(b, "eth0", "10.1.0.1/24")
	p.dnsmasq(b, "--port=0", "--dhcp-range=10.1.0.50,10.1.0.60,1h")
	reset := func() {
		must(withLink("eth0", func(l netlink.Link) error {
			log := slog.New(slog.DiscardHandler)
			k := rtnl.Open(log).Link(l.Attrs().Index, log)
			defer k.Close()
			return errors.Join(k.Flush(), k.SetDown())
		}))
	}
	routes, done := make(chan netlink.RouteUpdate, 64), make(chan struct{})
	must(netlink.RouteSubscribe(routes, done))
	defer func() {
		close(done)
		for range routes {
		}
	}()
	arrived := func() {
		for u := range routes {
			if dst, ok := rtnl.PrefixOf(u.Dst); u.Type == unix.RTM_NEWROUTE && u.Gw.To4() != nil && (!ok || dst.Bits() == 0) {
				return
			}
		}
	}
	took := map[string][]time.Duration{}
	for b.Loop() {
		for _, c := range all {
			reset()
			c.forget()
			for len(routes) > 0 {
				<-routes
			}
			at := make(chan time.Time, 1)
			go func() { arrived(); at <- time.Now() }()
			t := time.Now()
			c.lease()
			took[c.name] = append(took[c.name], (<-at).Sub(t))
		}
	}
	reset()
	fastest := min(median(took["udhcpc"]), median(took["dhcpcd"]))
	for name, t := range took {
		b.ReportMetric(ms(median(t)), "ms/"+name)
	}
	b.ReportMetric(float64(median(took["netup"]))/float64(fastest), "ratio")
	b.ReportMetric(0, "ns/op")
}

func median(all []time.Duration) time.Duration {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// BenchmarkSixteenLinks measures one live link among sixteen, the first or the
// last of them, in turns with one alone. What the kernel takes to set fifteen
// more links up, one after another, stands beside it: the last link can't have
// its lease sooner than that and one alone. The figures are lower quartiles:
// with fifteen veths the kernel may start the queue at the server's end so late
// that its first answer is lost, which costs a retransmission.
func BenchmarkSixteenLinks(b *testing.B) {
	live, dead := newPeer(b), newPeer(b)
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
	k := rtnl.Open(slog.New(slog.DiscardHandler))
	defer k.Close()
	bare := func() time.Duration {
		var links []netlink.Link
		for _, name := range deadLinks() {
			must(withLink(name, func(l netlink.Link) error { links = append(links, l); return nil }))
		}
		t := time.Now()
		for _, l := range links {
			must(k.LinkSetUp(l))
		}
		took := time.Since(t)
		for _, l := range links {
			must(k.LinkSetDown(l))
		}
		return took
	}
	sample := func(f func() time.Duration) time.Duration {
		var all []time.Duration
		for range 30 {
			all = append(all, f())
		}
		slices.Sort(all)
		return all[len(all)/4]
	}
	var one, first, last, up []time.Duration
	for b.Loop() {
		one = append(one, sample(lease))
		// The kernel lists links by their indices.
		dead.cables(b, 2000)
		first, up = append(first, sample(lease)), append(up, sample(bare))
		dead.uncables(b)
		dead.cables(b, 500)
		last = append(last, sample(lease))
		dead.uncables(b)
	}
	b.ReportMetric(ms(median(one)), "ms/one")
	b.ReportMetric(ms(median(first)), "ms/first")
	b.ReportMetric(ms(median(last)), "ms/last")
	b.ReportMetric(ms(median(up)), "ms/setup")
	b.ReportMetric(float64(median(first))/float64(median(one)), "ratio")
	b.ReportMetric(float64(median(last))/float64(median(one)+median(up)), "ratio/last")
	b.ReportMetric(0, "ns/op")
}

func deadLinks() (names []string) {
	for i := range 15 {
		names = append(names, "dead"+string(rune('a'+i)))
	}
	return names
}

// cables makes 15 links to the peer, with indices from first on.
func (p *peer) cables(b *testing.B, first int) {
	for i, name := range deadLinks() {
		la := netlink.NewLinkAttrs()
		la.Name, la.Index = name, first+i
		must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: la, PeerName: name, PeerNamespace: netlink.NsFd(p.ns)}))
	}
	p.do(b, func() error {
		for _, name := range deadLinks() {
			must(setUp(name))
		}
		return nil
	})
}

func (p *peer) uncables(b *testing.B) {
	for _, name := range deadLinks() {
		must(withLink(name, netlink.LinkDel))
	}
}
