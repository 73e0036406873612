package netup

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"netstage/netup/lease"
)

// A short lease is renewed of its server by unicast; when that falls silent
// every server is asked by broadcast; when one refuses then, all starts over.
func TestRenewRebindRefuse(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	short := dhcpv4.OptIPAddressLeaseTime(2 * time.Second)
	renewed, refused := false, false
	unicast := p.fakeDHCPAt(t, "eth0p", "10.1.0.1", "10.1.0.1", func(f *fakeDHCP, m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
		if renewed {
			return nil
		}
		renewed = true
		return f.polite(m, "10.1.0.9", short)
	})
	broadcast := p.fakeDHCPAt(t, "eth0p", "10.1.0.1", "255.255.255.255", func(f *fakeDHCP, m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
		switch {
		case refused:
			return f.polite(m, "10.1.0.10")
		case m.ClientIPAddr.IsUnspecified():
			return f.polite(m, "10.1.0.9", short)
		}
		refused = true
		return []*dhcpv4.DHCPv4{f.reply(m, dhcpv4.MessageTypeNak, "")}
	})
	s := start(t, Options{})
	n := s.wait(t)
	want := netip.MustParsePrefix("10.1.0.10/24")
	eventually(t, "a new address after the refusal", func() bool { return n.Lease().Addr == want })
	if a := addrsOf(t, "eth0"); !slices.Equal(a, []string{"10.1.0.10/24"}) {
		t.Errorf("addresses %v", a)
	}
	if got := strings.Count(s.log.String(), "renewed for"); got != 1 {
		t.Errorf("%d renewals", got)
	}
	if len(unicast.got(dhcpv4.MessageTypeRequest)) < 2 {
		t.Errorf("unicast %v", unicast.types())
	}
	ts := broadcast.types()
	if want := []string{"DISCOVER", "REQUEST", "REQUEST", "DISCOVER", "REQUEST"}; !slices.Equal(ts, want) {
		t.Errorf("broadcast %v", ts)
	}
}

// A lease that nobody renews is given up, and the address with it.
func TestLeaseRunsOut(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	given := false
	p.fakeDHCP(t, "eth0p", "10.1.0.1", func(f *fakeDHCP, m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
		if given && m.MessageType() == dhcpv4.MessageTypeRequest {
			return nil
		}
		given = given || m.MessageType() == dhcpv4.MessageTypeRequest
		return f.polite(m, "10.1.0.9", dhcpv4.OptIPAddressLeaseTime(time.Second))
	})
	s := start(t, Options{})
	s.wait(t)
	s.until(t, "the lease has run out")
	eventually(t, "no address", func() bool { return len(addrsOf(t, "eth0")) == 0 })
}

// A process that did not bring the network up keeps the lease alive, and gets
// another one where the server wants the address back.
func TestRenewByAnotherProcess(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	short := dhcpv4.OptIPAddressLeaseTime(2 * time.Second)
	var moved atomic.Bool
	serve := func(f *fakeDHCP, m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
		switch {
		case !moved.Load():
			return f.polite(m, "10.1.0.9", short)
		case !m.ClientIPAddr.IsUnspecified() && m.ClientIPAddr.String() != "10.1.0.20":
			return []*dhcpv4.DHCPv4{f.reply(m, dhcpv4.MessageTypeNak, "")}
		}
		return f.polite(m, "10.1.0.20", short)
	}
	server := p.fakeDHCPAt(t, "eth0p", "10.1.0.1", "10.1.0.1", serve)
	p.fakeDHCPAt(t, "eth0p", "10.1.0.1", "255.255.255.255", serve)
	s := start(t, Options{})
	n := s.wait(t)
	l := n.Lease()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	before := len(server.got(dhcpv4.MessageTypeRequest))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	changed := make(chan lease.Lease, 10)
	go func() {
		defer close(done)
		Renew(ctx, l, nil, slog.New(slog.DiscardHandler), func(l lease.Lease) { changed <- l })
	}()
	defer func() { cancel(); <-done }()
	eventually(t, "three renewals", func() bool { return len(server.got(dhcpv4.MessageTypeRequest)) >= before+3 })
	if a := addrsOf(t, "eth0"); !slices.Equal(a, []string{"10.1.0.9/24"}) {
		t.Errorf("addresses %v", a)
	}
	moved.Store(true)
	eventually(t, "another address", func() bool { return len(changed) > 0 })
	if l := <-changed; l.Addr != netip.MustParsePrefix("10.1.0.20/24") {
		t.Errorf("the lease is of %s", l.Addr)
	}
	before = len(server.got(dhcpv4.MessageTypeRequest))
	eventually(t, "a renewal of that", func() bool { return len(server.got(dhcpv4.MessageTypeRequest)) > before })
	if a := addrsOf(t, "eth0"); !slices.Equal(a, []string{"10.1.0.20/24"}) {
		t.Errorf("addresses %v", a)
	}
}
