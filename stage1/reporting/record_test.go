package reporting

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"netstage/debug/sentence"
	"netstage/fetch"
	"netstage/netup/lease"
	"netstage/netup/linktable"
	"netstage/stage1/cmdline"
	"netstage/stage1/config"
	"netstage/stage1/fault"
	"netstage/stage1/network"
	"netstage/stage1/report"
	"netstage/stage1/step"
)

// noCards has no card, and knows why.
type noCards struct{}

func (noCards) Undriven() []string { return []string{"pci:v1 has no driver"} }
func (noCards) WhyNone() []string  { return nil }

// record is that of a boot below a folder of the test's.
func record(t *testing.T) (*Record, *bytes.Buffer) {
	log, root := new(bytes.Buffer), t.TempDir()
	write := func(name, text string) {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("proc/meminfo", "MemTotal:  2048000 kB\nMemFree: 1 kB\nMemAvailable:  1024000 kB\n")
	write("sys/class/net/eth0/type", "1\n")
	write("sys/class/net/eth0/address", "52:54:00:12:34:56\n")
	logger := slog.New(sentence.NewHandler(slog.LevelInfo, sentence.To(log)))
	r := &Record{
		Log: logger, Version: "1.0", Root: root, Timeline: &step.Timeline{Started: step.SinceBoot()},
		KernelLog: func(int) []string { return []string{"Command line: a.password=hunter2"} },
		Warnings: func() []report.Warning {
			return []report.Warning{{Text: "image: http://a.example/?k=hunter2: 503", Mirror: "hunter2"}}
		},
		Network: &network.Connection{Log: logger, Cards: noCards{}, Root: root},
	}
	r.Config.Modules = cmdline.Params{{Key: "a.password", Value: "hunter2", HasValue: true}}
	return r, log
}

// read is the report in the boot's file.
func read(t *testing.T, r *Record) report.Report {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.Root, reportFile))
	if err != nil {
		t.Fatal(err)
	}
	out, err := report.Parse(text)
	if err != nil || bytes.Contains(text, []byte("hunter2")) {
		t.Errorf("%v: %s", err, text)
	}
	return out
}

// A failure is written down with what there is to see, and without secrets.
func TestFailureIsKept(t *testing.T) {
	r, log := record(t)
	r.Timeline.Start("image")
	r.Downloading()
	var status []string
	alive := 0
	tell := r.Progress(func(text string) { status = append(status, text) }, func() { alive++ })
	tell(fetch.Progress{What: "image", Bytes: 5 << 20, Total: 10 << 20, ETA: -1, Mirrors: []fetch.Mirror{{URL: "http://a.example/x", Answer: "a.example: 404 Not Found", Bytes: 5 << 20}}})
	if alive != 1 || len(status) != 1 {
		t.Errorf("%d signs of life, status %q", alive, status)
	}
	if text, err := os.ReadFile(filepath.Join(r.Root, downloadFile)); err != nil || !strings.Contains(string(text), "a.example") {
		t.Errorf("%s, %v", text, err)
	}
	r.Downloaded(errors.New("no image"))
	r.Timeline.Done("image", fault.Errorf(fault.Mismatch, "x"))
	f := fault.Failure{Class: fault.Mismatch, Cause: "hunter2 is wrong", Step: "image", Tried: []string{"hunter2"}}
	r.Fail(&f)(fault.Retry)
	out := read(t, r)
	if out.State != report.Failed || out.Failure == nil || out.Failure.Cause != "(blanked) is wrong" || out.Failure.Tried[0] != "(blanked)" {
		t.Errorf("%+v, %+v", out, out.Failure)
	}
	if out.Download == nil || out.Download.Bytes != 5<<20 || out.Memory == nil || out.Memory.Available != 1024000<<10 {
		t.Errorf("download %+v, memory %+v", out.Download, out.Memory)
	}
	if len(out.Steps) != 1 || out.Steps[0].Failure != fault.Mismatch || out.Steps[0].Running {
		t.Errorf("%+v", out.Steps)
	}
	if !slices.Equal(out.Machine.MACs, []string{"52:54:00:12:34:56"}) || out.Network != nil || len(out.KernelLog) != 1 {
		t.Errorf("%+v", out)
	}
	if w := out.Warnings; len(w) != 1 || w[0].Text != "image: http://a.example/?k=(blanked): 503" || w[0].Mirror != "(blanked)" {
		t.Errorf("warnings %+v", w)
	}
	facts := map[string][]string{}
	for _, fact := range f.Facts {
		facts[fact.Title] = fact.Lines
	}
	if got := facts["Mirrors"]; !slices.Equal(got, []string{"a.example: 404 Not Found, 5 MiB"}) {
		t.Errorf("mirrors %q", got)
	}
	if got := facts["Memory"]; !slices.Equal(got, []string{"1000 of 2000 MiB available"}) {
		t.Errorf("memory %q", got)
	}
	if f.Network == nil || log.Len() > 0 {
		t.Errorf("said %s", log)
	}
	// Once it succeeded, no failure is told.
	r.Keep(r.Report(r.Result()))
	if out := read(t, r); out.State != report.Good || out.Failure != nil {
		t.Errorf("%+v", out)
	}
	r.Config.Check = true
	if r.Result() != report.Check {
		t.Error("a check is told as a boot")
	}
	r.Downloading()
	if out := r.Report(report.Running); out.Download != nil {
		t.Error("the download before is told of")
	}
}

// A report that can't be written or sent is told of, and holds nothing up.
func TestReportThatCannotBeKept(t *testing.T) {
	r, log := record(t)
	r.Root = os.DevNull
	r.Keep(report.Report{})
	if !strings.Contains(log.String(), "the boot's report: ") {
		t.Errorf("%s", log)
	}
	r, log = record(t)
	r.Post(t.Context()) // nobody wants it
	r.Config.ReportTo = "http://10.0.0.1/"
	r.Post(t.Context())
	if !strings.Contains(log.String(), "this boot needed no network") {
		t.Errorf("%s", log)
	}
	r, log = record(t)
	r.Config.ReportTo, r.Config.CA = "https://10.0.0.1/", "/no/such/file"
	if r.poster() != nil || !strings.Contains(log.String(), "report: not sent: certificate authorities") {
		t.Errorf("%s", log)
	}
}

// A failure is posted where boot.report= says, while an operator is asked.
func TestFailureIsPosted(t *testing.T) {
	got := make(chan report.Report, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		text := new(bytes.Buffer)
		_, err := text.ReadFrom(q.Body)
		if err != nil {
			t.Error(err)
		}
		r, err := report.Parse(text.Bytes())
		if err != nil {
			t.Error(err)
		}
		got <- r
	}))
	defer server.Close()
	r, _ := record(t)
	r.Config.ReportTo = server.URL
	end := r.Fail(&fault.Failure{Class: fault.NoLease, Step: "network"})
	if posted := <-got; posted.Failure == nil || posted.Failure.Class != fault.NoLease {
		t.Errorf("%+v", posted)
	}
	end(fault.Reboot)
}

// The kernel log goes on from where it was sent last, by the name of the
// machine.
func TestKernelLogIsForwarded(t *testing.T) {
	var targets []LogTarget
	started := make(chan LogTarget, 2)
	l := KernelLog{Forward: func(ctx context.Context, target LogTarget) error {
		started <- target
		<-ctx.Done()
		return errors.New("it is gone")
	}}
	r, log := record(t)
	l.Start(r.Config, r.LogTarget()) // nobody wants it
	l.Stop()
	r.Config.LogTo = "10.0.0.1:514"
	for range 2 {
		l.Start(r.Config, r.LogTarget())
		targets = append(targets, <-started)
		l.Stop()
	}
	l.Stop() // it is stopped
	if len(started) > 0 || targets[0].Hostname != "52-54-00-12-34-56" || targets[0].Blank("hunter2") != "(blanked)" {
		t.Errorf("%+v", targets)
	}
	if targets[1].Since == 0 || targets[0].Since >= targets[1].Since {
		t.Errorf("since %v, then %v", targets[0].Since, targets[1].Since)
	}
	if strings.Count(log.String(), "boot.log: 10.0.0.1:514 is not reached: it is gone") != 2 {
		t.Errorf("%s", log)
	}
}

// A boot that died is told of in its stead, to whoever is to hear of it.
func TestCrashIsTold(t *testing.T) {
	r, log := record(t)
	c := CrashReport{
		Log: r.Log, Root: r.Root, KernelLog: r.KernelLog, Version: "1.0", Config: config.Config{LogTo: "10.0.0.1:514"},
		Failure: fault.Failure{Class: fault.Killed, Step: "boot", Cause: "killed"}, Since: time.Second,
	}
	started := make(chan LogTarget, 1)
	c.Forward = func(ctx context.Context, target LogTarget) error {
		started <- target
		<-ctx.Done()
		return nil
	}
	end := c.Tell()
	if target := <-started; target.Since != time.Second || target.Hostname != "52-54-00-12-34-56" {
		t.Errorf("%+v", target)
	}
	end(fault.Reboot)
	if out := read(t, r); out.State != report.Failed || out.Failure.Class != fault.Killed || out.Memory == nil {
		t.Errorf("%+v", out)
	}
	if log.Len() > 0 {
		t.Errorf("%s", log)
	}
}

func TestLinksAndLeaseOfAReport(t *testing.T) {
	if leaseOf(nil) != nil {
		t.Error("a lease of nothing")
	}
	mac := net.HardwareAddr{0x52, 0x54, 0, 1, 2, 3}
	if got := leaseOf(&lease.Lease{Link: "eth0", MAC: mac, Source: "DHCPv4", Took: 3 * time.Second}); got.MAC != "52:54:00:01:02:03" || got.TookMS != 3000 || got.Server != "" || got.Gateway != "" {
		t.Errorf("%+v", got)
	}
	rows := []linktable.Row{{Name: "eth0", MAC: mac.String(), Carrier: true}, {Name: "eth1"}}
	rows[0].V4.Address, rows[0].V6.Address = "10.0.0.2/24", "2001:db8::2/64"
	got := linksOf(rows)
	if len(got) != 2 || !slices.Equal(got[0].Addresses, []string{"10.0.0.2/24", "2001:db8::2/64"}) || got[1].Addresses != nil {
		t.Errorf("%+v", got)
	}
}
