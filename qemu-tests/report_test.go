package qemutests

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"netstage/cmd/netstage/netboot"
	"netstage/qemu-tests/nsmachine"
	"netstage/qemu-tests/system"
	"netstage/stage1/report"
)

// A collector keeps the reports it is sent.
type collector struct {
	mu      sync.Mutex
	reports []report.Report
	wrong   error
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	text, err := io.ReadAll(r.Body)
	if err == nil {
		var got report.Report
		got, err = report.Parse(text)
		c.reports = append(c.reports, got)
	}
	if err != nil {
		c.wrong = err
	}
}

// last is the newest of the n reports that there are to be.
func (c *collector) last(t *testing.T, n int) report.Report {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wrong != nil || len(c.reports) != n {
		t.Fatalf("%d reports, %v: want %d", len(c.reports), c.wrong, n)
	}
	return c.reports[n-1]
}

// A good boot tells before it goes on, a bad one while it waits, and neither
// tells secrets.
func TestReportIsPosted(t *testing.T) {
	t.Parallel()
	lan := nsmachine.NewLAN(t)
	lan.DHCP(t)
	a := store(t, classic())
	_, image := serve(t, lan, a)
	for name, test := range map[string]struct {
		cmdline string
		end     nsmachine.End
		state   report.State
		class   string
	}{
		"good":  {"rootfs.sha256=" + a.sha256, nsmachine.PoweredOff, report.Good, ""},
		"check": {"boot.check", nsmachine.PoweredOff, report.Check, ""},
		"bad":   {"boot.fail_timeout=1 rootfs.sha256=" + strings.Repeat("0", 64), nsmachine.Rebooted, report.Failed, "mismatch"},
		"panic": {"boot.panic_on_fail rootfs.sha256=" + strings.Repeat("0", 64), nsmachine.Panicked, report.Failed, "mismatch"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var c collector
			url := strings.Replace(lan.Serve(t, &c), "//", "//ops:hunter2@", 1)
			m := boot(t, nsmachine.Config{LAN: lan, Cmdline: "live.nixos.password=hunter3 init=" + system.Init + " rootfs=" + image + " boot.report=" + url + "reports " + test.cmdline})
			expectEnd(t, m, test.end, "report: sent to http://"+nsmachine.Gateway, "!hunter")
			r := c.last(t, 1)
			if r.State != test.state || r.Failure != nil && string(r.Failure.Class) != test.class || r.Network == nil || r.Network.Link != "eth0" {
				t.Errorf("report %+v", r)
			}
			if len(r.Machine.MACs) != 1 || r.Machine.MACs[0] != r.Network.MAC || len(r.Links) != 1 || !r.Links[0].Winner {
				t.Errorf("machine %+v, links %+v", r.Machine, r.Links)
			}
			if r.Download == nil || r.Download.What != "image" || len(r.Download.Mirrors) != 1 || r.Download.Mirrors[0].Bytes == 0 {
				t.Errorf("download %+v", r.Download)
			}
			if text := r.Text(80); strings.Contains(text, "hunter") || !strings.Contains(text, "live.nixos.password=(blanked)") {
				t.Errorf("%s", text)
			}
		})
	}
}

// Nobody listens, or listens and says nothing: the boot goes on.
func TestReportHoldsNothingUp(t *testing.T) {
	t.Parallel()
	lan := nsmachine.NewLAN(t)
	lan.DHCP(t)
	a := store(t, classic())
	_, image := serve(t, lan, a)
	silent := lan.Listen(t, nsmachine.Gateway+":0")
	t.Cleanup(func() { silent.Close() })
	for name, url := range map[string]string{
		"refused": "http://" + nsmachine.Gateway + ":9/", "silent": "https://" + silent.Addr().String() + "/", "no name": "http://nowhere.test/",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := boot(t, nsmachine.Config{LAN: lan, Cmdline: "init=" + system.Init + " rootfs=" + image + " boot.report=" + url})
			expectEnd(t, m, nsmachine.PoweredOff, "report: not sent to "+url+": no answer within 1s", "stage 2 done", `"state": "good"`)
		})
	}
}

// The lease leads to no image, and is still good for a report.
func TestReportWithoutAPath(t *testing.T) {
	t.Parallel()
	lan := nsmachine.NewLAN(t)
	lan.DHCP(t)
	var c collector
	m := boot(t, nsmachine.Config{LAN: lan, Cmdline: "boot.fail_timeout=2 boot.network_timeout=2 rootfs=http://192.0.2.1/x boot.report=" + lan.Serve(t, &c)})
	expectEnd(t, m, nsmachine.Rebooted, "report: sent to ")
	if r := c.last(t, 1); r.Failure == nil || r.Failure.Step != "network" || len(r.Links) != 1 || len(r.Links[0].Addresses) != 1 {
		t.Errorf("report %+v", r)
	}
}

// The child that did the work is dead, its NIC is still configured: the rescue
// tells, with the steps that the dead one left.
func TestReportOfADeadChild(t *testing.T) {
	t.Parallel()
	lan := nsmachine.NewLAN(t)
	lan.DHCP(t)
	a := store(t, classic())
	_, image := serve(t, lan, a)
	var c collector
	m := boot(t, nsmachine.Config{LAN: lan, Cmdline: "init=" + system.Init + " rootfs=" + image + " boot.break=root boot.report=" + strings.Replace(lan.Serve(t, &c), nsmachine.Gateway, "server.test", 1)})
	m.Expect("leaves it")
	if err := syscall.Kill(childNamed(t, m.Pid(), "boot"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	m.Expect("boot failed: killed")
	m.Expect("Keys: ")
	m.Type("r")
	expectEnd(t, m, nsmachine.Rebooted, "report: sent to http://server.test")
	r := c.last(t, 1)
	if r.State != report.Failed || r.Failure.Class != "killed" || r.Failure.Step != "boot" || len(r.Steps) != 6 || r.Image == nil {
		t.Errorf("report %+v", r)
	}
}

// As an operator has it: netstage serve tells machines where to report, and
// shows how they fared.
func TestServeKnowsItsMachines(t *testing.T) {
	t.Parallel()
	lan := nsmachine.NewLAN(t)
	lan.DHCP(t)
	a := store(t, classic())
	dir := t.TempDir()
	image, err := os.ReadFile(a.path)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"nix-store.squashfs": string(image), "nix-store.squashfs.sha256": a.sha256, "bzImage": "k", "initrd": "i"} {
		writeFile(t, filepath.Join(dir, name), text)
	}
	server, err := netboot.New(netboot.Options{Dir: dir, Reports: true, Append: "boot.fail_timeout=1", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	url := lan.Serve(t, server)
	get := func(path string) string {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Host = strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/")
		server.ServeHTTP(w, r)
		return w.Body.String()
	}
	_, line, _ := strings.Cut(get("/boot.ipxe"), "\nkernel /bzImage ")
	line, _, _ = strings.Cut(line, "BOOTIF=") // which iPXE fills in
	for init, end := range map[string]nsmachine.End{system.Init: nsmachine.PoweredOff, "/nix/store/nowhere/init": nsmachine.Rebooted} {
		m := boot(t, nsmachine.Config{LAN: lan, Cmdline: line + " boot.fail_timeout=1 init=" + init})
		expectEnd(t, m, end, "report: sent to "+url+"reports")
	}
	page := get("/reports/")
	for _, want := range []string{"Last boot of 2 machines", ">1 failed<", ">1 good<", "no-init</b> ", "from " + url + "nix-store.squashfs"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in %s", want, page)
		}
	}
	kept, _ := filepath.Glob(dir + "/reports/*/*.json")
	if len(kept) != 2 {
		t.Errorf("kept %v", kept)
	}
}
