package netup

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"netstage/netup/ipparam"
	"netstage/netup/linktable"
	"netstage/stage1/fault"
)

// A link at 10 Mb/s that nobody answers on has its carrier bounced, once, and
// sooner than one that negotiated; the table of links has the speed.
func TestBounceWithoutALease(t *testing.T) {
	for name, test := range map[string]struct {
		speed  string
		after  time.Duration
		line   string
		status string
	}{
		"negotiated": {"1000", 1500 * time.Millisecond, " s at 1000 Mb/s: set down and up again, once", "eth0"},
		// A sixth of this is within until's patience, all of it is not.
		"slow":     {"10", 24 * time.Second, " s at 10 Mb/s: set down and up again, once", "10 Mb/s"},
		"not told": {"-1", 1500 * time.Millisecond, " s: set down and up again, once", "eth0"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			p.cable(t, "eth0", "10.1.0.1/24")
			sysfs := t.TempDir()
			must(os.MkdirAll(sysfs+"/class/net/eth0", 0o755))
			must(os.WriteFile(sysfs+"/class/net/eth0/speed", []byte(test.speed+"\n"), 0o644))
			seen := make(chan string, 1)
			s := start(t, Options{Sysfs: sysfs, BounceAfter: test.after, Every: 50 * time.Millisecond, Watch: func(rows []linktable.Row) {
				if text := linktable.Summary(rows); strings.Contains(text, test.status) {
					select {
					case seen <- text:
					default:
					}
				}
			}})
			s.until(t, test.line)
			<-seen
			eventually(t, "the carrier's return", func() bool { return strings.Count(s.log.String(), "carrier") >= 2 })
			p.dnsmasq(t, "--port=0", "--dhcp-range=10.1.0.50,10.1.0.60,1h")
			s.wait(t)
			if n := strings.Count(s.log.String(), "set down and up again"); n != 1 {
				t.Errorf("bounced %d times", n)
			}
		})
	}
}

// A link that is to take addresses of one family says so where none come, and
// that the other family is there.
func TestOneFamilyAlone(t *testing.T) {
	for ip, want := range map[string]string{
		"eth0:dhcp": "ip=eth0:dhcp asks for IPv4 alone, and an IPv6 router speaks there: ip=eth0:dhcp,dhcp6, or no ip=, takes either",
		"auto6":     "ip=auto6 asks for IPv6 alone",
	} {
		t.Run(ip, func(t *testing.T) {
			p := router6(t)
			if ip != "auto6" {
				p.fakeRouter(t, "eth0p", advertisement)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			o := Options{Config: config(t, ipparam.Params{IP: []string{ip}}), Report: 1200 * time.Millisecond}
			var lines *lockedLines
			o.Log, lines = logTo(t)
			done := make(chan error)
			go func() {
				_, err := Up(ctx, o)
				done <- err
			}()
			eventually(t, want, func() bool { return strings.Contains(lines.String(), want) })
			cancel()
			if err := <-done; fault.ClassOf(err) != fault.NoLease || !strings.Contains(err.Error(), want) {
				t.Errorf("%v", err)
			}
		})
	}
}

// A machine with nothing but InfiniBand or a radio is told so.
func TestUnsupportedLinks(t *testing.T) {
	sysfs := t.TempDir()
	must(os.MkdirAll(sysfs+"/class/net/wlan0/phy80211", 0o755))
	log, lines := logTo(t)
	n := &Network{opts: Options{Sysfs: sysfs, Log: log}, board: newBoard(sysfs)}
	for i, l := range []netlink.Link{
		&netlink.GenericLink{LinkType: "ipoib", LinkAttrs: netlink.LinkAttrs{Name: "ib0", EncapType: "infiniband"}},
		&netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: "ibp1s0", EncapType: "infiniband"}},
		&netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: "wlan0", EncapType: "ether"}},
	} {
		l.Attrs().Index = i + 1
		n.update(t.Context(), l, false, nil)
		n.update(t.Context(), l, false, nil)
	}
	err := n.failure(nil)
	for _, want := range []string{"ib0: InfiniBand is not supported", "ibp1s0: InfiniBand", "wlan0: wireless is not supported"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	if got := strings.Count(lines.String(), "left alone"); got != 3 || fault.ClassOf(err) != fault.NoNIC {
		t.Errorf("%d lines, class %s", got, fault.ClassOf(err))
	}
}
