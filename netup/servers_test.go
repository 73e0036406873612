package netup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"netstage/netup/ipparam"
)

// daemon starts a real server in the peer's namespace. It is asked until it
// listens: clients send again what was lost.
func (p *peer) daemon(t testing.TB, name string, env []string, args ...string) {
	t.Helper()
	path := "/usr/sbin/" + name
	if _, err := os.Stat(path); err != nil {
		t.Skip("needs " + name)
	}
	var lines lockedLines
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &lines, &lines
	cmd.WaitDelay = time.Second // children of it may have its standard error
	p.do(t, cmd.Start)
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Log(name + ":\n" + lines.String())
		}
	})
}

// dhcpd is ISC's server.
func (p *peer) dhcpd(t testing.TB, link, conf string) {
	t.Helper()
	dir := t.TempDir()
	file, leases := filepath.Join(dir, "dhcpd.conf"), filepath.Join(dir, "leases")
	must(os.WriteFile(file, []byte(conf), 0o644))
	must(os.WriteFile(leases, nil, 0o644))
	p.daemon(t, "dhcpd", nil, "-4", "-d", "-f", "-cf", file, "-lf", leases, "-pf", filepath.Join(dir, "pid"), "--no-pid", link)
}

// kea is ISC's newer server.
func (p *peer) kea(t testing.TB, link, subnet string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "kea.conf")
	must(os.WriteFile(file, []byte(fmt.Sprintf(`{ "Dhcp4": {
		"interfaces-config": { "interfaces": [ "%s" ], "dhcp-socket-type": "raw" },
		"lease-database": { "type": "memfile", "persist": false },
		%s } }`, link, subnet)), 0o644))
	p.daemon(t, "kea-dhcp4", []string{"KEA_PIDFILE_DIR=" + dir, "KEA_LOCKFILE_DIR=" + dir}, "-c", file)
}

// The usual rules of servers for iPXE match an agent that asks as iPXE does:
// by user class, and by option 175.
func TestAsksAsIPXE(t *testing.T) {
	const ipxe, other = "http://10.1.0.1/boot.ipxe", "undionly.kpxe"
	for name, serve := range map[string]func(p *peer){
		"dnsmasq, user class": func(p *peer) {
			p.dnsmasq(t, "--port=0", "--dhcp-range=10.1.0.50,10.1.0.60,1h", "--dhcp-userclass=set:ipxe,iPXE",
				"--dhcp-boot=tag:!ipxe,"+other, "--dhcp-boot=tag:ipxe,"+ipxe)
		},
		"dnsmasq, option 175": func(p *peer) {
			p.dnsmasq(t, "--port=0", "--dhcp-range=10.1.0.50,10.1.0.60,1h", "--dhcp-match=set:ipxe,175",
				"--dhcp-boot=tag:!ipxe,"+other, "--dhcp-boot=tag:ipxe,"+ipxe)
		},
		"ISC dhcpd": func(p *peer) {
			p.dhcpd(t, "eth0p", `
				subnet 10.1.0.0 netmask 255.255.255.0 { range 10.1.0.50 10.1.0.60; option routers 10.1.0.1; }
				if exists user-class and option user-class = "iPXE" { filename "`+ipxe+`"; } else { filename "`+other+`"; }`)
		},
		"Kea": func(p *peer) {
			p.kea(t, "eth0p", `"client-classes": [
				{ "name": "ipxe", "test": "option[77].hex == 'iPXE'", "boot-file-name": "`+ipxe+`" },
				{ "name": "other", "test": "not (option[77].hex == 'iPXE')", "boot-file-name": "`+other+`" } ],
				"subnet4": [ { "id": 1, "subnet": "10.1.0.0/24", "pools": [ { "pool": "10.1.0.50 - 10.1.0.60" } ],
					"option-data": [ { "name": "routers", "data": "10.1.0.1" } ] } ]`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			p.cable(t, "eth0", "10.1.0.1/24")
			serve(p)
			n := up(t, Options{UserClass: "iPXE", Config: config(t, ipparam.Params{IP: []string{"dhcp"}})})
			if got := n.Lease().BootFile; got != ipxe {
				t.Errorf("boot file %q", got)
			}
		})
	}
}

// A server that knows this machine by BOOTP alone is heard.
func TestBOOTP(t *testing.T) {
	p := newPeer(t)
	p.cable(t, "eth0", "10.1.0.1/24")
	p.dhcpd(t, "eth0p", `
		allow bootp;
		if exists dhcp-message-type { ignore booting; }
		subnet 10.1.0.0 netmask 255.255.255.0 { option routers 10.1.0.1; option domain-name-servers 10.1.0.3; }
		host node { hardware ethernet `+macOf(t, "eth0").String()+`; fixed-address 10.1.0.77; filename "node.ipxe"; }`)
	s := start(t, Options{Config: config(t, ipparam.Params{IP: []string{"bootp"}})})
	l := s.wait(t).Lease()
	if l.Source != "bootp" || l.Addr.String() != "10.1.0.77/24" || l.BootFile != "node.ipxe" || l.Time != 0 || !l.OffLink() || len(l.DNS) != 1 {
		t.Errorf("%s lease %+v", l.Source, l)
	}
}
