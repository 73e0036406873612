package qemutests

import (
	"encoding/binary"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"netstage/cmd/netstage/initrd"
	"netstage/cmd/netstage/vm"
	"netstage/fetch/faulty"
	"netstage/qemu-tests/nsmachine"
	"netstage/qemu-tests/system"
)

// serveTime answers as a time server (RFC 4330) that takes now for the time,
// until the test ends.
func serveTime(t *testing.T, conn net.PacketConn, now func() time.Time) {
	var served sync.WaitGroup
	served.Go(func() {
		for {
			var q, a [48]byte
			n, from, err := conn.ReadFrom(q[:])
			if err != nil {
				return
			}
			if n < len(q) {
				continue
			}
			a[0], a[1] = 4<<3|4, 1
			copy(a[24:], q[40:])
			for _, at := range []int{32, 40} {
				binary.BigEndian.PutUint32(a[at:], uint32(now().Unix()+2208988800))
			}
			conn.WriteTo(a[:], from)
		}
	})
	t.Cleanup(func() {
		conn.Close()
		served.Wait()
	})
}

// The clock of a machine without a battery says 1970, and the server's
// certificate is valid from 2040 on: the initrd's age and a time server make it
// so late that the image comes. Nothing else vouches for the image.
func TestQEMUClock(t *testing.T) {
	t.Parallel()
	host := net.IPv4(10, 0, 2, 2)
	var conn net.PacketConn
	for range 300 { // another run of the tests may have the port
		var err error
		if conn, err = net.ListenPacket("udp4", "127.0.0.1:123"); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if conn == nil {
		t.Fatal("port 123 of 127.0.0.1 is taken")
	}
	now := time.Date(2040, 6, 1, 12, 0, 0, 0, time.UTC)
	serveTime(t, conn, func() time.Time { return now })
	a := store(t, classic())
	content, err := os.ReadFile(a.path)
	if err != nil {
		t.Fatal(err)
	}
	ca := newAuthority(t, now)
	server, err := faulty.ListenTLS("127.0.0.1:0", ca.server(t, now.AddDate(0, -5, 0), now.AddDate(0, 5, 0), host), content)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	authorities := t.TempDir() + "/ca.pem"
	writeFile(t, authorities, ca.pem)
	c := guestWith(t, xzModules, []string{"virtio_net"}, initrd.File{Source: authorities, Target: "/etc/netstage/ca.pem"})
	c.Direct, c.Init, c.ExtraArgs = true, system.Init, []string{"-rtc", "base=1970-01-01"}
	c.Append = "ip=10.0.2.15::10.0.2.2:255.255.255.0::eth0:off:::10.0.2.2 rootfs=" + strings.Replace(server.URL("image.squashfs"), "127.0.0.1", host.String(), 1)
	start(t, c).end(vm.PowerOff, "clock: 1970-01-01 00:00:", "is before this program was built, set to 20", "clock: asking [10.0.2.2]",
		"to 2040-06-01 12:00:", "stage 2 done")
}

// The time server that DHCP names is asked, before https alone. That it can't
// set the clock (the host's, which is not the machine's to set) costs no boot.
func TestTimeServerByDHCP(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ca := newAuthority(t, now)
	secure := []mirror{{tls: ca.server(t, now.AddDate(0, -1, 0), now.AddDate(0, 1, 0), net.ParseIP(nsmachine.Gateway))}}
	answers := func(p *played) {
		serveTime(p.t, p.lan.ListenPacket(p.t, nsmachine.Gateway+":123"), func() time.Time { return now.AddDate(0, 3, 0) })
	}
	for name, s := range map[string]scenario{
		"https": {lan: &network{mirrors: secure, before: answers},
			shown: []string{"clock: asking [10.77.0.1]", "by 10.77.0.1, in ", "clock: set it: operation not permitted"}},
		"a silent server": {lan: &network{mirrors: secure}, shown: []string{"clock: it stays at ", "no time server answers", "10.77.0.1: "}},
		"http":            {lan: &network{before: answers}, shown: []string{"!clock: "}},
	} {
		s.lan.options = []string{"--dhcp-option=option:ntp-server," + nsmachine.Gateway}
		s.files, s.cmdline = map[string]string{"/etc/netstage/ca.pem": ca.pem}, "rootfs={url} init={init}"
		t.Run(name, s.run)
	}
}
