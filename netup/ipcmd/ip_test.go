package ipcmd

import (
	"context"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inNamespace runs f in a network namespace of its own with a veth pair.
func inNamespace(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make a network namespace")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // the thread is thrown away
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		la := netlink.NewLinkAttrs()
		la.Name = "v0"
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: la, PeerName: "v1"}); err != nil {
			t.Error(err)
			return
		}
		f()
	}()
	<-done
}

func run(t *testing.T, want int, words string) (stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	if got := Main(strings.Fields(words), &out, &errs); got != want {
		t.Errorf("ip %s: exit %d, want %d: %s", words, got, want, errs.String())
	}
	return out.String(), errs.String()
}

func TestConfigureAndShow(t *testing.T) {
	inNamespace(t, func() {
		run(t, 0, "link set dev v1 up")
		run(t, 0, "l set v0 mtu 1400 up")
		run(t, 0, "addr add 10.9.0.1/24 dev v0")
		run(t, 0, "a add fd00::1/64 dev v0")
		run(t, 0, "route add default via 10.9.0.2 metric 7")
		run(t, 0, "route add 192.168.5.0/24 dev v0")
		run(t, 0, "-6 route add fd01::/64 via fd00::2")

		out, _ := run(t, 0, "a s v0")
		for _, s := range []string{": v0: <", "UP", "mtu 1400", "inet 10.9.0.1/24 brd 10.9.0.255 scope global", "inet6 fd00::1/64", "valid_lft forever"} {
			if !strings.Contains(out, s) {
				t.Errorf("ip addr show v0: no %q in\n%s", s, out)
			}
		}
		out, _ = run(t, 0, "-4 addr")
		if strings.Contains(out, "inet6") || strings.Contains(out, "lo:") {
			t.Errorf("ip -4 addr:\n%s", out)
		}
		out, _ = run(t, 0, "r")
		want := "default via 10.9.0.2 dev v0 proto boot metric 7\n" +
			"10.9.0.0/24 dev v0 proto kernel scope link src 10.9.0.1\n192.168.5.0/24 dev v0 proto boot scope link\n"
		if out != want {
			t.Errorf("ip route:\n%swant\n%s", out, want)
		}
		if out, _ = run(t, 0, "-6 route show dev v0"); !strings.Contains(out, "fd01::/64 via fd00::2 dev v0") {
			t.Errorf("ip -6 route:\n%s", out)
		}
		if out, _ = run(t, 0, "route get 8.8.8.8"); !strings.Contains(out, "8.8.8.8/32 via 10.9.0.2 dev v0") {
			t.Errorf("ip route get:\n%s", out)
		}

		run(t, 0, "route replace default via 10.9.0.3 metric 7")
		run(t, 0, "route del default")
		run(t, 0, "addr del 10.9.0.1/24 dev v0")
		if out, _ = run(t, 0, "route"); out != "192.168.5.0/24 dev v0 proto boot scope link\n" && out != "" {
			t.Errorf("routes left:\n%s", out)
		}
		run(t, 0, "addr flush dev v0")
		if out, _ = run(t, 0, "addr show dev v0"); strings.Contains(out, "inet") {
			t.Errorf("addresses left:\n%s", out)
		}
		run(t, 0, "link set v0 down")
		if out, _ = run(t, 0, "link show v0"); strings.Contains(out, "UP") || !strings.Contains(out, "state DOWN") {
			t.Errorf("link:\n%s", out)
		}
		run(t, 0, "neigh")
	})
}

func TestMistakes(t *testing.T) {
	for words, want := range map[string]string{
		"":                                "usage",
		"tunnel":                          `no object "tunnel"`,
		"addr frob":                       `has no "frob"`,
		"addr add 10.0.0/24 dev lo":       "10.0.0/24",
		"addr add 10.0.0.1/24":            "dev LINK missing",
		"link set lo":                     "nothing to set",
		"link set lo mtu":                 "value missing",
		"link set lo mtu many":            `"many" is no number`,
		"link set lo sideways":            "unknown word",
		"route add 10.0.0.0/8":            "via ADDR or dev LINK missing",
		"route add default via elsewhere": `"elsewhere" is no address`,
		"route get x":                     `"x" is no address`,
		"-x":                              "unknown option",
	} {
		if _, errs := run(t, 2, words); !strings.Contains(errs, want) {
			t.Errorf("ip %s: %s", words, errs)
		}
	}
	if _, errs := run(t, 1, "addr show nosuch0"); !strings.Contains(errs, "nosuch0") {
		t.Error(errs)
	}
}

func TestPing(t *testing.T) {
	inNamespace(t, func() {
		run(t, 0, "link set lo up")
		for _, host := range []string{"127.0.0.1", "::1"} {
			var out, errs strings.Builder
			if code := PingMain(t.Context(), []string{"-c", "2", "-i", "0.01", host}, &out, &errs); code != 0 || !strings.Contains(out.String(), "2 sent, 2 received, 0% lost") {
				t.Errorf("ping %s: exit %d\n%s%s", host, code, out.String(), errs.String())
			}
		}
		run(t, 0, "link set v1 up")
		run(t, 0, "link set v0 up")
		run(t, 0, "addr add 10.9.0.1/24 dev v0")
		var out, errs strings.Builder
		if code := PingMain(t.Context(), []string{"-c", "1", "-W", "0.05", "10.9.0.2"}, &out, &errs); code != 1 || !strings.Contains(out.String(), "1 sent, 0 received") {
			t.Errorf("exit %d\n%s%s", code, out.String(), errs.String())
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if st, err := Ping(ctx, PingOptions{Host: "127.0.0.1"}, &out); err != nil || st.Sent != 0 {
			t.Errorf("%+v %v", st, err)
		}
	})
	var out, errs strings.Builder
	if code := PingMain(t.Context(), []string{"-c"}, &out, &errs); code != 2 {
		t.Errorf("exit %d", code)
	}
}
