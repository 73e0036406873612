package network

import (
	"bytes"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"netstage/debug/sentence"
	"netstage/fetch/ref"
	"netstage/netup/lease"
	"netstage/netup/networkd"
	"netstage/qemu-tests/namespaced"
	"netstage/stage1/config"
	"netstage/stage1/fault"
)

func TestMain(m *testing.M) { namespaced.Main(m) }

// cards are those of a machine whose only one has no driver.
type cards struct{ why []string }

func (c cards) Undriven() []string { return c.why }
func (c cards) WhyNone() []string  { return c.why }

func locations(t *testing.T, texts ...string) []ref.Location {
	t.Helper()
	var all []ref.Location
	for _, text := range texts {
		l, err := ref.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

// Why there is no network is told by its cause; where a disk may have the image
// it is no failure; and what the links did is left for the shell.
func TestNoNetwork(t *testing.T) {
	namespaced.Need(t)
	for name, test := range map[string]struct {
		why    []string
		rootfs []string
		handed string
		class  fault.Class
		said   string
	}{
		"no card":              {nil, []string{"http://10.0.0.1/image"}, "", fault.NoNIC, ""},
		"no driver":            {[]string{"pci:v1 has no driver in the initrd"}, []string{"http://10.0.0.1/image"}, "", fault.NoDriver, ""},
		"a disk has it":        {nil, []string{"http://10.0.0.1/image", "LABEL=x:/image"}, "", "", "the image may be on a disk"},
		"addresses handed in":  {nil, []string{"http://10.0.0.1/image"}, handedAddrs, fault.NoNIC, ""},
		"nonsense handed in ":  {nil, []string{"http://10.0.0.1/image"}, "{", fault.NoNIC, "the addresses that were handed in are of no use"},
		"nothing that matters": {nil, []string{"http://10.0.0.1/image"}, "[]", fault.NoNIC, ""},
	} {
		t.Run(name, func(t *testing.T) {
			root, log := t.TempDir(), new(bytes.Buffer)
			if test.handed != "" {
				if err := os.WriteFile(filepath.Join(root, handedAddresses), []byte(test.handed), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			c := Connection{Log: slog.New(sentence.NewHandler(slog.LevelInfo, sentence.To(log))), Cards: cards{test.why}, Root: root}
			status := "never"
			err := c.Up(t.Context(), Order{
				Config: config.Config{NetworkTimeout: time.Second, Rootfs: locations(t, test.rootfs...)},
				Alive:  func() {}, Status: func(text string) { status = text },
			})
			if fault.ClassOf(err) != test.class || c.Network != nil {
				t.Errorf("%v, want %q", err, test.class)
			}
			if test.why != nil && !strings.HasPrefix(err.Error(), test.why[0]) {
				t.Errorf("the driver that lacks is not what is told first: %v", err)
			}
			if status != "" {
				t.Errorf("the status stays %q", status)
			}
			if !strings.Contains(log.String(), test.said) {
				t.Errorf("the log lacks %q: %s", test.said, log)
			}
			want := append([]string{"no network card"}, test.why...)[len(test.why):]
			if got := c.Lines(80); !slices.Equal(got, want) {
				t.Errorf("now %q, want %q", got, want)
			}
			if got := Left(root, 80); !slices.Equal(got, want) {
				t.Errorf("left %q, want %q", got, want)
			}
			if c.Won() != nil || c.Host() != "" || c.Leave(t.Context(), true) != nil {
				t.Error("there is a lease of nothing")
			}
		})
	}
}

// The tables of an earlier boot that can't be read are those of none.
func TestLeftByNobody(t *testing.T) {
	namespaced.Need(t)
	root := t.TempDir()
	if got := Left(root, 80); !slices.Equal(got, []string{"no network card"}) {
		t.Errorf("%q", got)
	}
	c := Connection{Root: root, Cards: cards{}}
	if got := c.Lines(80); !slices.Equal(got, []string{"no network card"}) || c.Links().Version != 0 {
		t.Errorf("%q", got)
	}
}

// What is connected to proves a lease: the server that a reference means with
// it, or the proxy. A file that only TFTP brings can't be proven.
func TestServerOf(t *testing.T) {
	next := lease.Lease{Next: netip.MustParseAddr("10.0.0.9"), NextName: "boot", BootFile: "http://boot.example:8080/x/boot.ipxe"}
	tftp := lease.Lease{Next: netip.MustParseAddr("10.0.0.9"), BootFile: "TFTP://10.0.0.8/x/boot.ipxe"}
	for name, test := range map[string]struct {
		text  string
		proxy string
		base  string
		lease lease.Lease
		want  string
	}{
		"http":               {"http://a.example/image", "", "", next, "a.example:80"},
		"https":              {"https://a.example/image", "", "", next, "a.example:443"},
		"by the boot file":   {"image", "", "", next, "boot.example:8080"},
		"by the next server": {"image", "", "", tftp, "10.0.0.9:80"},
		"by its name":        {"image", "", "", lease.Lease{NextName: "boot"}, "boot:80"},
		"by the base":        {"image", "", "http://base.example/", next, "base.example:80"},
		"by a proxy":         {"http://a.example/image", "http://proxy.example:3128", "", next, "proxy.example:3128"},
		"tftp":               {"tftp://a.example/image", "", "", next, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := config.Config{Proxy: test.proxy}
			if test.base != "" {
				c.Base = locations(t, test.base)[0]
			}
			got, err := serverOf(c, locations(t, test.text)[0], Base(c, test.lease))
			if err != nil || got != test.want {
				t.Errorf("%q, %v, want %q", got, err, test.want)
			}
		})
	}
	if _, err := serverOf(config.Config{}, locations(t, "image")[0], Base(config.Config{}, lease.Lease{})); err == nil {
		t.Error("a name that nothing completes leads somewhere")
	}
	if err := prove(t.Context(), config.Config{Rootfs: locations(t, "image")}, lease.Lease{}); err == nil {
		t.Error("and proves a lease")
	}
	if err := prove(t.Context(), config.Config{Rootfs: locations(t, "tftp://10.0.0.1/image")}, lease.Lease{}); err != nil {
		t.Error(err)
	}
}

// Stage 2 is told of the network that stays; what the image has is left alone.
func TestDescribe(t *testing.T) {
	for _, own := range []bool{false, true} {
		root := t.TempDir()
		resolv := filepath.Join(root, config.NewRoot, resolvConf)
		if own {
			if err := os.MkdirAll(filepath.Dir(resolv), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("/run/resolv.conf", resolv); err != nil {
				t.Fatal(err)
			}
		}
		state := networkd.State{MAC: "52:54:00:12:34:56"}
		if err := describe(root, state, []byte("nameserver 10.0.0.1\n")); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(root, networkFile))
		if err != nil || !strings.Contains(string(text), state.MAC) {
			t.Errorf("%s, %v", text, err)
		}
		if text, err := os.ReadFile(filepath.Join(root, resolvFile)); err != nil || string(text) != "nameserver 10.0.0.1\n" {
			t.Errorf("%s, %v", text, err)
		}
		if files, err := os.ReadDir(filepath.Join(root, networkdDir)); err != nil || len(files) == 0 {
			t.Errorf("systemd-networkd is told nothing: %v", err)
		}
		info, err := os.Lstat(resolv)
		if err != nil || (info.Mode()&os.ModeSymlink != 0) != own {
			t.Errorf("the image's own: %v, %v", info, err)
		}
	}
	if err := describe(filepath.Join(os.DevNull, "x"), networkd.State{}, nil); err == nil {
		t.Error("nothing can be written there")
	}
}
