package netup

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"netstage/netup/lease"
	"netstage/stage1/fault"
)

// The first server is dead, the second one answers; no resolv.conf is read, and
// a name with a dot is completed too.
func TestNamesByTheLease(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	p.greeter(t, "10.1.0.1:8080")
	p.dnsmasq(t, "--dhcp-range=10.1.0.50,10.1.0.60,1h", "--address=/image.test/10.1.0.1", "--address=/img.lan.a.example/10.1.0.1",
		"--local=/invalid/", "--local=/lan/", "--local=/example/", "--dhcp-option=option:domain-search,a.example", "--dhcp-option=option:dns-server,10.1.0.200,10.1.0.1")
	n := up(t, Options{})
	for _, name := range []string{"image.test", "image.test", "img.lan"} {
		c, err := n.DialContext(t.Context(), "tcp", name+":8080")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c.Close()
	}
	_, err := n.DialContext(t.Context(), "tcp", "nothing.invalid:80")
	if fault.ClassOf(err) != fault.DNS || !strings.Contains(err.Error(), "no such host, asked 10.1.0.200, 10.1.0.1") {
		t.Errorf("%v", err)
	}
}

func TestNamesWithoutServers(t *testing.T) {
	_, err := DialBy(func() lease.Lease { return lease.Lease{} })(t.Context(), "tcp", "image.test:80")
	if fault.ClassOf(err) != fault.DNS || !strings.Contains(err.Error(), "names no DNS server") {
		t.Errorf("%v", err)
	}
}

// An AAAA that nobody answers does not keep the connection waiting, nor an
// address that leads nowhere.
func TestHappyEyeballs(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	p.greeter(t, "10.1.0.1:8080")
	p.do(t, func() error { return nil })
	p.dnsmasq(t, "--port=0", "--dhcp-range=10.1.0.50,10.1.0.60,1h", "--dhcp-option=option:dns-server,10.1.0.1")
	p.dnsWithoutAAAA(t, "10.1.0.1:53")
	n := up(t, Options{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	c, err := n.DialContext(ctx, "tcp", "image.test:8080")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// dnsWithoutAAAA answers every question for an A with 10.1.0.1, and no other.
func (p *peer) dnsWithoutAAAA(t testing.TB, addr string) {
	t.Helper()
	var conn net.PacketConn
	p.do(t, func() (err error) { conn, err = net.ListenPacket("udp", addr); return err })
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFrom(b)
			if errors.Is(err, net.ErrClosed) || n < 17 {
				return
			}
			at := 12
			for b[at] != 0 {
				at += 1 + int(b[at])
			}
			if b[at+2] != 1 {
				continue
			}
			m := append([]byte(nil), b[:at+5]...)
			m[2], m[3], m[7], m[11] = 0x81, 0x80, 1, 0
			conn.WriteTo(append(m, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 1, 0, 1), from)
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
}
