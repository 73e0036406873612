package stage1

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"netstage/debug/sentence"
	"netstage/qemu-tests/namespaced"
	"netstage/stage1/config"
	"netstage/stage1/fault"
	"netstage/stage1/heartbeat"
	"netstage/stage1/report"
	"netstage/stage1/step"
)

func TestMain(m *testing.M) { namespaced.Main(m) }

// lines are a log, and what else is said.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// An attempt is a boot in this process, as root of a machine without disks and
// network cards, by a command line and with an operator.
type attempt struct {
	cmdline string
	files   map[string]string // of the initrd
	choices []fault.Choice    // of an operator, one after another; then to reboot

	log      lines
	failures []fault.Failure
	stops    []string // breakpoints
	ssh      []string // what the server was told
	looks    func()   // after the end; may be nil
	stopAt   string   // the breakpoint where the operator reboots
}

func (a *attempt) run(t *testing.T) End {
	namespaced.Need(t)
	write := func(name, text string) {
		if err := os.MkdirAll(name[:strings.LastIndexByte(name, '/')+1], 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range a.files {
		write(name, text)
		defer os.Remove(name)
	}
	write("/run/cmdline", a.cmdline+"\n")
	if err := unix.Mount("/run/cmdline", "/proc/cmdline", "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount("/proc/cmdline", unix.MNT_DETACH)
	defer os.RemoveAll("/run/netstage")
	// The operator's menu is asked by steps, one after another.
	choose := func(f fault.Failure) fault.Choice {
		a.failures = append(a.failures, f)
		if len(a.choices) == 0 {
			return fault.Reboot
		}
		choice := a.choices[0]
		a.choices = a.choices[1:]
		return choice
	}
	if a.looks != nil {
		defer a.looks()
	}
	return Run(t.Context(), Agent{
		Log: slog.New(sentence.NewHandler(slog.LevelInfo, sentence.To(&a.log))), Status: func(string) {}, Version: "1.0",
		Break: func(_ context.Context, _ config.Config, s step.Step) fault.Choice {
			a.stops = append(a.stops, s.Name)
			if s.Name == a.stopAt {
				return fault.Reboot
			}
			return ""
		},
		Rescue:    func(_ context.Context, _ config.Config, f fault.Failure) fault.Choice { return choose(f) },
		KernelLog: func(int) []string { return []string{"the kernel's last line"} },
		Heartbeat: func(heartbeat.Watchdog) {},
		SSH: func() (func(), error) {
			a.ssh = append(a.ssh, "start")
			return func() { a.ssh = append(a.ssh, "stop") }, nil
		},
	})
}

// reported is the report that a boot left in its file.
func reported(t *testing.T) (r report.Report) {
	text, err := os.ReadFile("/run/netstage/boot.json")
	if err == nil {
		r, err = report.Parse(text)
	}
	if err != nil {
		t.Error(err)
	}
	return r
}

// A boot whose image is none: it fails, is tried again from the image on, and
// ends as it is chosen to.
func TestRunFails(t *testing.T) {
	a := attempt{
		cmdline: "rootfs=/image init=/init boot.ssh boot.break=image boot.break=root a.password=hunter2",
		files:   map[string]string{"/image": "no image", "/.initrd-secrets/etc/secret": "x"},
		choices: []fault.Choice{fault.Retry},
	}
	end := a.run(t)
	if end.HandOver != nil || end.Choice != fault.Reboot || !strings.HasPrefix(end.Reason, "bad-image: ") {
		t.Errorf("%+v", end)
	}
	if len(a.failures) != 2 || a.failures[0].Step != "root" || a.failures[0].Class != fault.BadImage || a.failures[1].Attempt != 2 {
		t.Errorf("%+v", a.failures)
	}
	if want := []string{"image", "root", "image", "root"}; !slices.Equal(a.stops, want) {
		t.Errorf("stopped at %q", a.stops)
	}
	if want := []string{"start", "stop"}; !slices.Equal(a.ssh, want) {
		t.Errorf("ssh: %q", a.ssh)
	}
	for _, want := range []string{"root (7/8): bad-image", "image (6/8): done", "network: not needed", "secrets: copied 1 files", "no modules for this kernel"} {
		if !strings.Contains(a.log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, &a.log)
		}
	}
	if text, err := os.ReadFile("/etc/secret"); err != nil || string(text) != "x" {
		t.Errorf("%q, %v", text, err)
	}
	for _, link := range []string{"/sbin/modprobe", "/bin/sh"} {
		if _, err := os.Readlink(link); err != nil {
			t.Error(err)
		}
	}
}

// What stage 2 and a server read of it has the failure, and no secret.
func TestRunIsReported(t *testing.T) {
	var r report.Report
	a := attempt{
		cmdline: "rootfs=/image init=/init a.password=hunter2", files: map[string]string{"/image": "no image"},
		choices: []fault.Choice{fault.Retry}, looks: func() { r = reported(t) },
	}
	defer func() {
		text, err := json.Marshal(r)
		if err != nil || strings.Contains(string(text), "hunter2") {
			t.Errorf("%s, %v", text, err)
		}
	}()
	end := a.run(t)
	if end.Choice != fault.Reboot {
		t.Errorf("%+v", end)
	}
	var steps []string
	for _, s := range r.Steps {
		steps = append(steps, s.Name)
	}
	if want := []string{"pseudo", "config", "modules", "devices", "network", "image", "root", "image", "root"}; !slices.Equal(steps, want) {
		t.Errorf("steps %q", steps)
	}
	if r.State != report.Failed || r.Failure == nil || r.Failure.Class != fault.BadImage || r.Image == nil || r.Image.Size != 8 || r.Agent != "1.0" {
		t.Errorf("%+v", r)
	}
	if !slices.Equal(r.KernelLog, []string{"the kernel's last line"}) {
		t.Errorf("kernel log %q", r.KernelLog)
	}
}

// The command line may want a panic instead of a menu.
func TestRunPanics(t *testing.T) {
	a := attempt{cmdline: "rootfs=/none boot.panic_on_fail"}
	if end := a.run(t); end.Choice != fault.Panic || len(a.failures) > 0 || !strings.HasPrefix(end.Reason, "no-image: ") && end.Reason == "" {
		t.Errorf("%+v, %v", end, a.failures)
	}
}

// All that is wrong with a command line is told before anything is done by it.
func TestRunComplains(t *testing.T) {
	a := attempt{cmdline: "rootfs=ftp://x rootfs.sha256=nonsense boot.break=nowhere", choices: []fault.Choice{fault.PowerOff}}
	end := a.run(t)
	if end.Choice != fault.PowerOff || len(a.failures) != 1 || a.failures[0].Class != fault.BadParameter || a.failures[0].Step != "config" {
		t.Fatalf("%+v, %+v", end, a.failures)
	}
	for _, want := range []string{"ftp://x", "nonsense", "nowhere"} {
		if !strings.Contains(a.failures[0].Cause+strings.Join(a.failures[0].Tried, ""), want) {
			t.Errorf("%q is not complained of: %+v", want, a.failures[0])
		}
	}
}

// A machine without a network card says why, and may be told to go on without a
// network.
func TestRunWithoutANetwork(t *testing.T) {
	a := attempt{
		cmdline: "rootfs=http://10.0.0.1/image boot.network_timeout=1 boot.log=udp://10.0.0.1 init=/init",
		choices: []fault.Choice{fault.Retry},
	}
	end := a.run(t)
	if end.Choice != fault.Reboot || len(a.failures) != 2 {
		t.Fatalf("%+v, %+v", end, a.failures)
	}
	f := a.failures[0]
	if f.Step != "network" || f.Class != fault.NoDriver || f.Next != "image" || !strings.Contains(f.Cause, "no modules for this kernel") {
		t.Errorf("%+v", f)
	}
}

// Where a disk may have the image, too, no network is no failure.
func TestRunWithADiskInstead(t *testing.T) {
	a := attempt{cmdline: "rootfs=http://10.0.0.1/image rootfs=LABEL=x:/image boot.network_timeout=1 boot.break=image", stopAt: "image"}
	a.run(t)
	if !slices.Equal(a.stops, []string{"image"}) || !strings.Contains(a.log.String(), "the image may be on a disk") {
		t.Errorf("stopped at %q, %+v:\n%s", a.stops, a.failures, &a.log)
	}
}
