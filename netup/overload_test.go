package netup

import (
	"slices"
	"strings"
	"testing"
)

// dnsmasq puts options into the fields when the message is full.
func TestOverloadByDnsmasq(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	args := []string{"--port=0", "--dhcp-range=10.1.0.50,10.1.0.60,1h", "--dhcp-userclass=set:rack,rack-7",
		"--dhcp-option=option:dns-server,10.1.0.1,10.1.0.2", "--dhcp-option=tag:rack,option:domain-search,a.example"}
	for _, code := range []string{"224", "225", "226", "227"} {
		args = append(args, "--dhcp-option-force="+code+","+strings.Repeat("x", 240))
	}
	p.dnsmasq(t, append(args, "--dhcp-option-force=228,"+strings.Repeat("y", 110), "--dhcp-option-force=230,"+strings.Repeat("y", 60))...)
	s := start(t, Options{UserClass: "rack-7"})
	n := s.wait(t)
	if got := string(n.ResolvConf()); got != "search a.example\nnameserver 10.1.0.1\nnameserver 10.1.0.2\n" {
		t.Errorf("resolv.conf %q", got)
	}
	if r := routesOf(t, "eth0"); !slices.Contains(r, "default via 10.1.0.1") {
		t.Errorf("routes %v", r)
	}
}
