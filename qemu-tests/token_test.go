package qemutests

import (
	"testing"

	"netstage/fetch/faulty"
)

// A token of the initrd goes to the server with every request, again after a
// fault, and is nowhere on the console. What stage 2 finds of the download
// tells the mirror and its fault.
func TestToken(t *testing.T) {
	scenario{
		lan: mirrored(faulty.Behaviour{End: faulty.EndClose, Cut: half}), files: map[string]string{"/etc/netstage/token": `{"origin": "http://{addr}", "token": "geheim"}`},
		cmdline: "init={init} rootfs={url} rootfs.token=/etc/netstage/token roothash={roothash}",
		shown: []string{"the token goes to {url} unencrypted", "!geheim",
			`download: {"what":"image"`, `"retries":1`, `"faults":1,"answer":"HTTP/1.1 206 Partial Content","class":"short"`},
		check: func(p *played) {
			for _, e := range p.requests() {
				if e.Auth != "Bearer geheim" {
					p.t.Errorf("a request without the token: %+v", e)
				}
			}
		},
	}.run(t)
}

// A token of the initrd goes to no server that its file does not name, be it
// the command line, DHCP or a proxy that leads there; the boot itself is well
// without.
func TestTokenStaysAtHome(t *testing.T) {
	t.Parallel()
	at := `{"origin": "http://{addr}", "token": "geheim"}`
	for name, s := range map[string]scenario{
		"a server of the command line": {cmdline: "rootfs={url}",
			files: map[string]string{"/etc/netstage/token": `{"origin": "https://images.example", "token": "geheim"}`}},
		"a server that DHCP named": {cmdline: "rootfs=image.squashfs", lan: &network{options: []string{"--dhcp-option=67,{dir}/boot.ipxe"}},
			files: map[string]string{"/etc/netstage/token": at}},
	} {
		if s.lan == nil {
			s.lan = &network{}
		}
		s.cmdline += " init={init} rootfs.token=/etc/netstage/token rootfs.sha256={sha256}"
		s.shown = []string{"no token goes to", "!geheim"}
		s.check = func(p *played) {
			if len(p.requests()) == 0 {
				p.t.Error("no request")
			}
			for _, e := range p.requests() {
				if e.Auth != "" {
					p.t.Errorf("a request with a secret: %+v", e)
				}
			}
		}
		t.Run(name, s.run)
	}
	t.Run("another file", scenario{
		lan: &network{}, cmdline: "boot.fail_timeout=1 init={init} rootfs={url} rootfs.token=/etc/netstage/shell-password rootfs.sha256={sha256}",
		files: map[string]string{"/etc/netstage/shell-password": hashOfS}, ends: refused("policy"),
		shown: []string{"does not say where the token may go", "!$6$"},
		check: func(p *played) {
			if n := len(p.requests()); n != 0 {
				p.t.Errorf("%d requests", n)
			}
		},
	}.run)
}
