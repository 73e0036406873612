package netup

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// overloaded is an ACK whose fields file and sname hold options, by value of
// option 52.
func overloaded(value byte) []byte {
	b := ack(dhcpv4.WithGeneric(dhcpv4.OptionOptionOverload, []byte{value})).ToBytes()
	copy(b[fileAt:], []byte{67, 6, 'a', '.', 'i', 'p', 'x', 'e', 0, 0, 6, 4, 10, 0, 0, 7, 255})
	copy(b[snameAt:], []byte{66, 4, 't', 'f', 't', 'p', 6, 4, 10, 0, 0, 8, 255})
	return b
}

func TestUnfold(t *testing.T) {
	for value, want := range map[byte][]string{
		1: {"a.ipxe", "B\x04tftp\x06\x04\n", "10.0.0.7"}, 2: {"C\x06a.ipxe", "tftp", "10.0.0.8"}, 3: {"a.ipxe", "tftp", "10.0.0.7 10.0.0.8"},
	} {
		m, err := dhcpv4.FromBytes(unfold(overloaded(value)))
		if err != nil {
			t.Fatal(err)
		}
		l, err := leaseFrom(m)
		if err != nil {
			t.Fatal(err)
		}
		var dns []string
		for _, a := range l.DNS {
			dns = append(dns, a.String())
		}
		// A field that holds no options is what it always was, here of bytes
		// that no name has.
		if value&1 != 0 && l.BootFile != want[0] || value&2 != 0 && l.NextName != want[1] || value&1 == 0 && l.BootFile != "" || value&2 == 0 && l.NextName != "" ||
			strings.Join(dns, " ") != want[2] {
			t.Errorf("overload %d: boot file %q, server %q, dns %v", value, l.BootFile, l.NextName, dns)
		}
	}
	for name, b := range map[string][]byte{"none": ack().ToBytes(), "0": overloaded(0), "cut short": overloaded(3)[:100]} {
		if !bytes.Equal(unfold(b), b) {
			t.Errorf("%s: changed", name)
		}
	}
	broken := overloaded(3)
	copy(broken[fileAt:cookieAt], bytes.Repeat([]byte{7}, cookieAt-fileAt))
	if !bytes.Equal(unfold(broken), broken) {
		t.Error("a field without an end is unfolded")
	}
}

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

func FuzzUnfold(f *testing.F) {
	f.Add(overloaded(3))
	f.Add(overloaded(1))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		out := unfold(b)
		if !bytes.Equal(b, before) {
			t.Error("the message is changed in place")
		}
		if len(out) > len(b)+192+1 {
			t.Errorf("%d bytes of %d", len(out), len(b))
		}
		if len(out) >= optionsAt && !bytes.Equal(out, b) {
			if _, overload, ok := optionsOf(out[optionsAt:]); !ok || overload != 0 {
				t.Error("still overloaded")
			}
		}
	})
}
