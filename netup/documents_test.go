package netup

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"netstage/netup/ipparam"
)

// block is the configuration of docs/servers.md whose first line names it.
func block(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile("../docs/servers.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, marker := range []string{"# ", "// "} {
		if _, rest, ok := strings.Cut(string(text), "\n```\n"+marker+name+"\n"); ok {
			body, _, _ := strings.Cut(rest, "\n```\n")
			return body + "\n"
		}
	}
	t.Fatalf("docs/servers.md has no block %q", name)
	return ""
}

// documented is the server of docs/servers.md: its card is eth0, its folders
// are those of the document, in a mount namespace of the tests' own.
func documented(t testing.TB) *peer {
	t.Helper()
	p := newPeer(t)
	p.cable(t, "eth0", "")
	p.do(t, func() error {
		return withLink("eth0p", func(l netlink.Link) error {
			must(netlink.LinkSetDown(l))
			must(netlink.LinkSetName(l, "eth0"))
			return netlink.LinkSetUp(l)
		})
	})
	p.routerAddrs(t, "eth0", "192.0.2.1/24", "2001:db8::1/64", "fe80::1/64")
	for _, dir := range []string{"/srv", "/var/lib/kea", "/run"} {
		must(os.MkdirAll(dir, 0o755))
		must(unix.Mount("documents", dir, "tmpfs", 0, ""))
		t.Cleanup(func() { must(unix.Unmount(dir, unix.MNT_DETACH)) })
	}
	must(os.MkdirAll("/srv/tftp", 0o755))
	must(os.MkdirAll("/srv/netboot", 0o755))
	must(os.MkdirAll("/run/kea", 0o755))
	must(os.WriteFile("/srv/netboot/boot.ipxe", []byte("#!ipxe\n"), 0o644))
	return p
}

// written writes a block to a file of its own.
func written(t testing.TB, name string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "conf")
	must(os.WriteFile(file, []byte(block(t, name)), 0o644))
	return file
}

// The configurations of docs/servers.md, as they are written there, serve the
// agent, and the agent that asks as iPXE does.
func TestDocumentedServers(t *testing.T) {
	for name, serve := range map[string]func(t *testing.T, p *peer){
		"dnsmasq": func(t *testing.T, p *peer) {
			p.daemon(t, "dnsmasq", nil, "--keep-in-foreground", "--user=root", "--port=0", "--no-ping", "--pid-file=",
				"--dhcp-leasefile="+t.TempDir()+"/leases", "--conf-file="+written(t, "dnsmasq.conf"))
		},
		"ISC dhcpd": func(t *testing.T, p *peer) { p.dhcpd(t, "eth0", block(t, "dhcpd.conf")) },
		"Kea": func(t *testing.T, p *peer) {
			p.daemon(t, "kea-dhcp4", []string{"KEA_LOCKFILE_DIR=/run/kea"}, "-c", written(t, "kea-dhcp4.conf"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := documented(t)
			serve(t, p)
			for class, want := range map[string]string{"": "undionly.kpxe", "iPXE": "http://192.0.2.1:8080/boot.ipxe"} {
				n := up(t, Options{UserClass: class, Config: config(t, ipparam.Params{IP: []string{"dhcp"}})})
				l := n.Lease()
				if l.BootFile != want || !strings.HasPrefix(l.Addr.String(), "192.0.2.") || l.Gateway().String() != "192.0.2.1" || l.Time != time.Hour && name == "dnsmasq" {
					t.Errorf("user class %q: boot file %q, lease %s", class, l.BootFile, l)
				}
				if err := n.Down(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			firmwareIsServed(t)
		})
	}
}

// firmwareIsServed asks as firmware of every kind does, and as iPXE that it
// has loaded.
func firmwareIsServed(t *testing.T) {
	t.Helper()
	must(setUp("eth0"))
	defer setDownN("eth0")
	const ipxe, web = "http://192.0.2.1:8080/boot.ipxe", "http://192.0.2.1:8080/"
	for _, f := range []struct {
		arch  iana.Arch
		class string // option 60
		file  string
	}{
		{iana.INTEL_X86PC, "PXEClient", "undionly.kpxe"},
		{iana.EFI_X86_64, "PXEClient", "snponly.efi"}, {iana.EFI_BC, "PXEClient", "snponly.efi"},
		{iana.EFI_ARM64, "PXEClient", "snponly-arm64.efi"},
		{iana.EFI_X86_64_HTTP, "HTTPClient", web + "snponly.efi"}, {iana.EFI_ARM64_HTTP, "HTTPClient", web + "snponly-arm64.efi"},
	} {
		for _, user := range []string{"", "iPXE"} {
			kind := []dhcpv4.Modifier{
				dhcpv4.WithRequestedOptions(dhcpv4.OptionClassIdentifier, dhcpv4.OptionBootfileName),
				dhcpv4.WithOption(dhcpv4.OptClientArch(f.arch)),
				dhcpv4.WithOption(dhcpv4.OptClassIdentifier(fmt.Sprintf("%s:Arch:%05d:UNDI:003016", f.class, f.arch))),
			}
			if user != "" {
				kind = append(kind, dhcpv4.WithOption(dhcpv4.OptUserClass(user)), dhcpv4.WithGeneric(dhcpv4.GenericOptionCode(175), []byte{19, 1, 1}))
			}
			offer := offerTo(t, kind...)
			file, class := offer.BootFileNameOption(), string(offer.ClassIdentifier())
			if file == "" {
				file = offer.BootFileName
			}
			switch {
			case user == "iPXE" && file != ipxe, user == "" && file != f.file:
				t.Errorf("arch %d, user class %q: boot file %q", f.arch, user, file)
			case user == "" && f.class == "HTTPClient" && class != f.class: // the firmware wants it
				t.Errorf("arch %d: vendor class %q", f.arch, class)
			case user == "" && f.class == "PXEClient" && (offer.ServerIPAddr.String() != "192.0.2.1" || class == "HTTPClient"):
				t.Errorf("arch %d: next server %s, vendor class %q", f.arch, offer.ServerIPAddr, class)
			}
		}
	}
}

// offerTo is what a DHCP server offers, on eth0, to a client of some kind.
func offerTo(t *testing.T, kind ...dhcpv4.Modifier) (offer *dhcpv4.DHCPv4) {
	t.Helper()
	c, err := nclient4.New("eth0", nclient4.WithTimeout(time.Second), nclient4.WithRetry(10))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if offer, err = c.DiscoverOffer(t.Context(), kind...); err != nil {
		t.Fatal(err)
	}
	return offer
}

func TestDocumentedRouters(t *testing.T) {
	t.Run("radvd", func(t *testing.T) {
		p := documented(t)
		p.radvd(t, block(t, "radvd.conf"))
		if l := up(t, auto(t)).Lease(); l.Source != "ra" || l.Gateway().String() != "fe80::1" || l.Addr.Masked().String() != "2001:db8::/64" {
			t.Errorf("lease %s", l)
		}
	})
	t.Run("dnsmasq", func(t *testing.T) {
		p := documented(t)
		p.daemon(t, "dnsmasq", nil, "--keep-in-foreground", "--user=root", "--port=0", "--pid-file=",
			"--dhcp-leasefile="+t.TempDir()+"/leases", "--conf-file="+written(t, "dnsmasq.conf, IPv6"))
		if l := up(t, auto(t)).Lease(); l.Source != "dhcp6" || l.BootFile != "http://[2001:db8::1]:8080/boot.ipxe" {
			t.Errorf("lease %+v", l)
		}
	})
}

// nginx serves both families what is in the folder, and parts of it, as it is.
func TestDocumentedWebServer(t *testing.T) {
	if _, err := exec.LookPath("/usr/sbin/nginx"); err != nil {
		t.Skip("needs nginx")
	}
	p := documented(t)
	image := strings.Repeat("hsqs, compressible ", 1000)
	must(os.WriteFile("/srv/netboot/nix-store.squashfs", []byte(image), 0o644))
	conf := filepath.Join(t.TempDir(), "nginx.conf")
	must(os.WriteFile(conf, []byte("daemon off; master_process off; pid /run/nginx.pid; error_log stderr; events { }\nhttp { access_log off; include "+written(t, "sites-enabled/netboot")+"; }\n"), 0o644))
	p.daemon(t, "nginx", nil, "-c", conf)
	p.radvd(t, block(t, "radvd.conf"))
	p.dhcpd(t, "eth0", block(t, "dhcpd.conf"))
	n := up(t, Options{})
	client := &http.Client{Transport: &http.Transport{DialContext: n.DialContext}}
	for _, host := range []string{"192.0.2.1", "2001:db8::1"} {
		eventually(t, "nginx by "+host, func() bool {
			c, err := n.DialContext(t.Context(), "tcp", net.JoinHostPort(host, "8080"))
			if err == nil {
				c.Close()
			}
			return err == nil
		})
		req, err := http.NewRequest("GET", "http://"+net.JoinHostPort(host, "8080")+"/nix-store.squashfs", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Range", "bytes=100-199")
		req.Header.Set("Accept-Encoding", "gzip")
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusPartialContent || string(body) != image[100:200] || resp.Header.Get("Content-Encoding") != "" ||
			resp.Header.Get("Content-Type") != "application/octet-stream" {
			t.Errorf("%s: %s %v %q", host, resp.Status, resp.Header, body)
		}
	}
}
