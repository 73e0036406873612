package qemutests

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"netstage/cmd/netstage/netboot"
	"netstage/qemu-tests/nsmachine"
	"netstage/stage1/fault"
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
	wrong := "rootfs.sha256=" + strings.Repeat("0", 64)
	for name, test := range map[string]struct {
		cmdline string
		ends    ending
		state   report.State
		class   fault.Class
	}{
		"good":  {"rootfs.sha256={sha256}", stage2, report.Good, ""},
		"check": {"boot.check", poweredOff, report.Check, ""},
		"bad":   {"boot.fail_timeout=1 " + wrong, rebooted, report.Failed, "mismatch"},
		"panic": {"boot.panic_on_fail " + wrong, panicked, report.Failed, "mismatch"},
	} {
		var c collector
		t.Run(name, scenario{
			lan:     &network{web: map[string]http.Handler{"reports": &c}},
			cmdline: "live.nixos.password=hunter3 init={init} rootfs={url} boot.report=http://ops:hunter2@{reports}/reports " + test.cmdline,
			ends:    test.ends,
			shown:   []string{"report: sent to http://" + nsmachine.Gateway, "!hunter"},
			check: func(p *played) {
				t := p.t
				r := c.last(t, 1)
				if r.State != test.state || r.Failure != nil && r.Failure.Class != test.class || r.Network == nil || r.Network.Link != "eth0" {
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
			},
		}.run)
	}
}

// A boot that succeeds tells what it had to get around, and about what that was.
func TestReportHasWarnings(t *testing.T) {
	var c collector
	scenario{
		lan:     &network{web: map[string]http.Handler{"reports": &c, "gone": http.NotFoundHandler()}},
		cmdline: "init={init} rootfs=http://{gone}/image rootfs={url} rootfs.sha256={sha256} boot.report=http://{reports}/",
		shown:   []string{"report: sent to "},
		check: func(p *played) {
			r := c.last(p.t, 1)
			gone := slices.IndexFunc(r.Warnings, func(w report.Warning) bool { return w.Mirror == p.others["gone"] })
			if gone < 0 || r.State != report.Good {
				p.t.Fatalf("state %s, warnings %+v", r.State, r.Warnings)
			}
			if w := r.Warnings[gone]; w.What != "image" || w.Class != "http-404" || w.Error || w.AtMS < r.StartMS || !strings.HasPrefix(w.Text, "image: ") {
				p.t.Errorf("%+v", w)
			}
		},
	}.run(t)
}

// Nobody listens, or listens and says nothing: the boot goes on.
func TestReportHoldsNothingUp(t *testing.T) {
	t.Parallel()
	silent := func(p *played) {
		l := p.lan.Listen(p.t, nsmachine.Gateway+":0")
		p.t.Cleanup(func() { l.Close() })
		p.others["silent"] = l.Addr().String()
	}
	for name, url := range map[string]string{
		"refused": "http://" + nsmachine.Gateway + ":9/", "silent": "https://{silent}/", "no name": "http://nowhere.test/",
	} {
		t.Run(name, scenario{
			lan: &network{before: silent}, cmdline: "init={init} rootfs={url} boot.report=" + url,
			shown: []string{"report: not sent to " + url + ": no answer within 1s", `"state": "good"`},
		}.run)
	}
}

// The lease leads to no image, and is still good for a report.
func TestReportWithoutAPath(t *testing.T) {
	var c collector
	scenario{
		lan:     &network{web: map[string]http.Handler{"reports": &c}},
		cmdline: "boot.fail_timeout=2 boot.network_timeout=2 rootfs=http://192.0.2.1/x boot.report=http://{reports}/",
		ends:    rebooted, shown: []string{"report: sent to "},
		check: func(p *played) {
			if r := c.last(p.t, 1); r.Failure == nil || r.Failure.Step != "network" || len(r.Links) != 1 || len(r.Links[0].Addresses) != 1 {
				p.t.Errorf("report %+v", r)
			}
		},
	}.run(t)
}

// The child that did the work is dead, its NIC is still configured: the rescue
// tells, with the steps that the dead one left.
func TestReportOfADeadChild(t *testing.T) {
	var c collector
	scenario{
		lan:     &network{web: map[string]http.Handler{"reports": &c}},
		cmdline: "init={init} rootfs={url} boot.break=root boot.report=http://server.test:{reports.port}/",
		story:   []step{prompt, signals(syscall.SIGKILL), shows("boot failed: killed"), menu, types("r")},
		ends:    rebooted, shown: []string{"report: sent to http://server.test"},
		check: func(p *played) {
			r := c.last(p.t, 1)
			if r.State != report.Failed || r.Failure.Class != "killed" || r.Failure.Step != "boot" || len(r.Steps) != 6 || r.Image == nil {
				p.t.Errorf("report %+v", r)
			}
		},
	}.run(t)
}

// As an operator has it: netstage serve tells machines where to report, and
// shows how they fared.
func TestServeKnowsItsMachines(t *testing.T) {
	t.Parallel()
	v, dir := vouchOnce(t, classic()), t.TempDir()
	for name, text := range map[string]string{"nix-store.squashfs": string(v.content), "nix-store.squashfs.sha256": v.sha256, "bzImage": "k", "initrd": "i"} {
		writeFile(t, filepath.Join(dir, name), text)
	}
	server, err := netboot.New(netboot.Options{Dir: dir, Reports: true, Append: "boot.fail_timeout=1", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	var host string
	get := func(path string) string {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Host = host
		server.ServeHTTP(w, r)
		return w.Body.String()
	}
	for init, end := range map[string]ending{"{init}": stage2, "/nix/store/nowhere/init": refused("no-init")} {
		scenario{
			lan: &network{web: map[string]http.Handler{"netstage": server}, before: func(p *played) {
				host = p.others["netstage"]
				_, line, _ := strings.Cut(get("/boot.ipxe"), "\nkernel /bzImage ")
				p.others["line"], _, _ = strings.Cut(line, "BOOTIF=") // which iPXE fills in
			}},
			cmdline: "{line} boot.fail_timeout=1 init=" + init,
			ends:    end, shown: []string{"report: sent to http://{netstage}/reports"},
		}.play(t)
	}
	page := get("/reports/")
	for _, want := range []string{"Last boot of 2 machines", ">1 failed<", ">1 good<", "no-init</b> ", "from http://" + nsmachine.Gateway, "/nix-store.squashfs"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in %s", want, page)
		}
	}
	kept, _ := filepath.Glob(dir + "/reports/*/*.json")
	if len(kept) != 2 {
		t.Errorf("kept %v", kept)
	}
}
