package netup

import (
	"errors"
	"net"
	"net/netip"
	"testing"
)

// The first server is dead, the second one answers; no resolv.conf is read.
func TestResolverRotates(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	p.dnsmasq(t, "--dhcp-range=10.1.0.50,10.1.0.60,1h", "--address=/image.test/10.9.9.9",
		"--local=/invalid/", "--dhcp-option=option:dns-server,10.1.0.200,10.1.0.1")
	n := up(t, Options{})
	for range 2 {
		ips, err := n.Resolver().LookupNetIP(t.Context(), "ip4", "image.test")
		if err != nil || len(ips) != 1 || ips[0].Unmap() != netip.MustParseAddr("10.9.9.9") {
			t.Fatalf("%v %v", ips, err)
		}
	}
	_, err := n.Resolver().LookupHost(t.Context(), "nothing.invalid")
	var dns *net.DNSError
	if !errors.As(err, &dns) || !dns.IsNotFound {
		t.Errorf("%T %v", err, err)
	}
}

func TestResolverWithoutServers(t *testing.T) {
	_, err := Path{}.dialer().Resolver.LookupHost(t.Context(), "image.test")
	if err == nil {
		t.Fatal("an answer from nowhere")
	}
	t.Log(err)
}
