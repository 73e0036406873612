package netup

import (
	"strings"
	"testing"

	"netstage/netup/ipparam"
)

// The lease goes on under the identity that it was given to, and the operator's
// route with it.
func TestKeptIdentityAndRoute(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	p.dnsmasq(t, "--port=0", "--dhcp-range=10.1.0.50,10.1.0.60,1h", "--dhcp-host=id:ff:00:00:00:07:00:02:00:00:ab:11,10.1.0.55")
	n := up(t, Options{Config: config(t, ipparam.Params{
		IP: []string{"dhcp,255,\x00\x00\x00\x07\x00\x02\x00\x00\xab\x11"}, Route: []string{"192.168.8.0/24:10.1.0.2"},
	})})
	text := string(n.Networkd().Network())
	for _, want := range []string{"ClientIdentifier=duid\nIAID=7\nDUIDType=2\nDUIDRawData=00:00:ab:11\n", "[Route]\nDestination=192.168.8.0/24\nGateway=10.1.0.2\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "Destination=0.0.0.0/0") || n.Lease().Addr.String() != "10.1.0.55/24" {
		t.Errorf("%s\n%s", n.Lease(), text)
	}
}
