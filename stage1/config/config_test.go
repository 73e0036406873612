package config

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"netstage/fetch/pace"
	"netstage/fetch/ref"
	"netstage/netup/ipparam"
	"netstage/nix"
	"netstage/stage1/cmdline"
	"netstage/stage1/fault"
)

const emptySHA = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// breakable are the steps of a boot that a breakpoint can be before.
var breakable = []string{"modules", "devices", "network", "image", "root", "handover"}

func parse(line string) (Config, error) { return parseParams(cmdline.Parse(line)) }

func parseParams(params cmdline.Params) (Config, error) {
	c, wrong := Parse(params, breakable)
	return c, Complaint(wrong)
}

func TestParse(t *testing.T) {
	defaults := func(change func(*Config)) Config {
		c := Config{Init: "/init", Console: "tty1", FailTimeout: time.Minute, Breaks: map[string]bool{}}
		if change != nil {
			change(&c)
		}
		return c
	}
	for line, want := range map[string]Config{
		"": defaults(nil),
		"BOOT_IMAGE=/bzImage quiet loglevel=4 live.nixos.passwordHash=$6$x systemd.unit=rescue.target root=fstab": defaults(nil),
		"rootfs=http://a/b?x=y rootfs=img.squashfs init=/nix/store/x/init rootfs.sha256=" + emptySHA: defaults(func(c *Config) {
			c.Init, c.WantInit = "/nix/store/x/init", true
			c.Rootfs = []ref.Location{parsed("http://a/b?x=y"), parsed("img.squashfs")}
			c.SHA256 = []byte{0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55}
		}),
		"console=tty0 console=ttyS0,115200n8": defaults(func(c *Config) { c.Console = "ttyS0" }),
		"boot.check":                          defaults(func(c *Config) { c.Check = true }),
		"boot.debug1":                         defaults(func(c *Config) { c.Breaks["modules"] = true }),
		"debug1 boot.debug1devices boot.debug1mounts boot.break=image": defaults(func(c *Config) {
			c.Breaks = map[string]bool{"modules": true, "network": true, "handover": true, "image": true}
		}),
		"boot.shell_on_fail boot.trace boot.fail_timeout=0": defaults(func(c *Config) { c.ShellOnFail, c.Trace, c.FailTimeout = true, true, 0 }),
		"stage1panic=1 debugtrace boot.fail_timeout=5":      defaults(func(c *Config) { c.PanicOnFail, c.Trace, c.FailTimeout = true, true, 5*time.Second }),
		"stage1panic=0":      defaults(nil),
		"boot.ssh":           defaults(func(c *Config) { c.SSH = true }),
		"boot.panic_on_fail": defaults(func(c *Config) { c.PanicOnFail = true }),
		"ip=dhcp boot.network=keep boot.network_timeout=90": defaults(func(c *Config) {
			c.WantNetwork, c.KeepNetwork, c.NetworkTimeout = true, true, 90*time.Second
			c.Network.Entries = []ipparam.Entry{{Text: "dhcp", Method: "dhcp"}}
		}),
		"boot.dhcp.hostname=web-1":    defaults(func(c *Config) { c.HostName = "web-1" }),
		"boot.dhcp.user-class=rack-7": defaults(func(c *Config) { c.UserClass = "rack-7" }),
		"roothash=" + emptySHA + " rootfs.roothash=" + emptySHA + " rootfs.verity=a rootfs.verity=http://b/c rootfs.manifest=/m rootfs.manifest.newer=2026-11-23T08:00:00Z rootfs.manifest.newer=2026-11-22 rootfs.ca=/etc/ca.pem rootfs.token=/etc/netstage/token rootfs.floor=1000/2": defaults(func(c *Config) {
			c.RootHash, _ = nix.ParseSHA256(emptySHA)
			c.Verity = []ref.Location{parsed("a"), parsed("http://b/c")}
			c.Manifest = []ref.Location{parsed("/m")}
			c.Newer = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
			c.CA, c.Token = "/etc/ca.pem", "/etc/netstage/token"
			c.LowSpeed = pace.LowSpeedLimit{Bytes: 1000, Window: 2 * time.Second}
		}),
		"rootfs.verity.mount roothash=" + emptySHA: defaults(func(c *Config) {
			c.MountVerity = true
			c.RootHash, _ = nix.ParseSHA256(emptySHA)
		}),
		"rootfs.verity.mount=restart rootfs.manifest=/m": defaults(func(c *Config) {
			c.MountVerity, c.OnCorruption = true, "restart_on_corruption"
			c.Manifest = []ref.Location{parsed("/m")}
		}),
		"rootfs.stream rootfs.stream.timeout=30 rootfs.manifest=/m": defaults(func(c *Config) {
			c.Stream, c.StreamTimeout = true, 30*time.Second
			c.Manifest = []ref.Location{parsed("/m")}
		}),
		"rootfs.stream=demand rootfs.stream.keep=64M rootfs.manifest=/m": defaults(func(c *Config) {
			c.Stream, c.OnDemand, c.StreamKeep = true, true, 64<<20
			c.Manifest = []ref.Location{parsed("/m")}
		}),
		"rootfs.proxy=http://joe:pw@10.0.0.1:3128": defaults(func(c *Config) { c.Proxy = "http://joe:pw@10.0.0.1:3128" }),
		"rootfs.base=http://srv/images":            defaults(func(c *Config) { c.Base = parsed("http://srv/images") }),
	} {
		got, err := parse(line)
		got.Modules = nil
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.IgnoreUnexported(Config{})); diff != "" || err != nil {
			t.Errorf("%q: %v (-want +got):\n%s", line, err, diff)
		}
	}
}

func TestStreamIsRefused(t *testing.T) {
	for line, want := range map[string]string{
		"rootfs.stream rootfs=a":                                                  "rootfs.stream needs a verity tree and its root hash",
		"rootfs.stream rootfs=a rootfs.sha256=" + emptySHA:                        "rootfs.stream needs a verity tree and its root hash",
		"rootfs.stream=whole rootfs.manifest=/m":                                  "rootfs.stream=whole: want demand",
		"rootfs.stream.timeout=soon":                                              "rootfs.stream.timeout=soon: want a number",
		"rootfs.stream rootfs.manifest=/m rootfs.stream.keep=64M":                 "rootfs.stream.keep= bounds what rootfs.stream=demand keeps",
		"rootfs.stream=demand rootfs.manifest=/m rootfs.stream.keep=1M":           "rootfs.stream.keep=1M: want at least 16M",
		"rootfs.stream=demand rootfs.manifest=/m rootfs.stream.keep=half":         "rootfs.stream.keep=half: want at least 16M",
		"rootfs.stream=demand rootfs.manifest=/m rootfs.stream.keep=99999999999G": "rootfs.stream.keep=99999999999G: want at least 16M",
	} {
		if _, err := parse(line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", line, err, want)
		}
	}
}

func TestVerityMountNeedsATree(t *testing.T) {
	for line, wrong := range map[string]bool{"": true, "rootfs.sha256=" + emptySHA: true, "roothash=" + emptySHA: false, "rootfs.manifest=x": false} {
		_, err := parse("rootfs.verity.mount " + line)
		if wrong != (err != nil && strings.Contains(err.Error(), "rootfs.verity.mount needs a verity tree and its root hash: give roothash=")) {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestParseConfigComplainsOfEverything(t *testing.T) {
	c, err := parse("init=bash rootfs= rootfs.sha256=abc rootfs.base=ftp://x boot.break=mars boot.fail_timeout=-1 boot.network=off boot.dhcp.user-class= boot.dhcp.hostname=a/b boot.network_timeout=1m ip=1.2.3.4:nowhere: nameserver=x roothash=a rootfs.ca=ca.pem rootfs.token=/etc/netstage/../shadow rootfs.floor=0/1 rootfs.manifest.newer=monday rootfs.verity.mount=never rootfs.proxy=socks5://joe:geheim@h rootfs.manifest= rootfs=/dev/disk/by-path/x:/image boot.persistence=sda1 findiso=x.iso")
	if c.FailTimeout != time.Minute {
		t.Errorf("a failure screen of %s", c.FailTimeout)
	}
	if fault.ClassOf(err) != fault.BadParameter {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{"init=bash", "rootfs=", "rootfs.sha256=", `"abc"`, "rootfs.base=ftp://x", "boot.break=mars", "handover", "boot.fail_timeout=-1: want a number", "boot.network=off", "boot.dhcp.user-class=: ", "boot.dhcp.hostname=a/b: ", "boot.network_timeout=1m: want a number", "ip=1.2.3.4:nowhere:", "nameserver=x", "roothash=: ", "rootfs.ca=ca.pem", "rootfs.token=/etc/netstage/../shadow", "rootfs.manifest.newer=monday", "rootfs.proxy=socks5://h: want the URL of a proxy", "rootfs.verity.mount=never: want restart or panic", "rootfs.floor=0/1: want BYTES/SECONDS", "rootfs.manifest=: ", "rootfs=: device /dev/disk/by-path/x", "boot.persistence=: device \"sda1\"", "findiso=x.iso"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %s", want, err)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("more than a line: %q", err)
	}
	if _, wrong := Parse(c.Modules, breakable); len(wrong) != 22 {
		t.Errorf("%d complaints: %v", len(wrong), wrong)
	}
}

// A digest that is given twice must not be loosened by the second.
func TestTwoDigests(t *testing.T) {
	other := strings.Repeat("0", 64)
	if _, err := parse("rootfs.roothash=" + emptySHA + " roothash=" + other); err == nil {
		t.Error("two different root hashes pass")
	}
	if _, err := parse("rootfs.sha256=" + emptySHA + " rootfs.sha256=" + other); err == nil {
		t.Error("two different digests pass")
	}
	if _, err := parse("rootfs.sha256=" + emptySHA + " rootfs.sha256=sha256:" + emptySHA); err != nil {
		t.Error(err)
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add("init=/x rootfs=http://a/b rootfs.sha256=" + emptySHA + " boot.break=root console=ttyS0,1")
	f.Fuzz(func(t *testing.T, line string) {
		c, err := parse(line)
		if err == nil && !strings.HasPrefix(c.Init, "/") {
			t.Errorf("init %q accepted", c.Init)
		}
	})
}

// parsed is a location that is one.
func parsed(s string) ref.Location {
	l, err := ref.Parse(s)
	if err != nil {
		panic(err)
	}
	return l
}
