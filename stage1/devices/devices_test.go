package devices

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"netstage/debug/sentence"
	"netstage/qemu-tests/namespaced"
	"netstage/stage1/cmdline"
	"netstage/stage1/kmod"
)

func TestMain(m *testing.M) { namespaced.Main(m) }

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// initrd is one with files in the folder of modules for this kernel, or for
// another.
func initrd(t *testing.T, kernel string, files map[string]string) (*Devices, *bytes.Buffer) {
	namespaced.Need(t)
	if kernel == "" {
		release, err := kmod.Release()
		if err != nil {
			t.Fatal(err)
		}
		kernel = release
	}
	t.Cleanup(func() { os.RemoveAll("/lib/modules") })
	for name, text := range files {
		write(t, filepath.Join("/lib/modules", kernel, name), text)
	}
	log := new(bytes.Buffer)
	return &Devices{Log: slog.New(sentence.NewHandler(slog.LevelInfo, sentence.To(log)))}, log
}

// An initrd for another kernel is told as such, and what asks for drivers does
// without: they may be built in.
func TestInitrdOfAnotherKernel(t *testing.T) {
	for name, test := range map[string]struct {
		kernel string
		files  map[string]string
		want   string
	}{
		"no modules":      {"x", nil, "the initrd has no modules for this kernel"},
		"another kernel":  {"1.2.3-other", map[string]string{"modules.dep": ""}, ", only for 1.2.3-other"},
		"no modules.dep":  {"", map[string]string{"modules.alias": ""}, "has no modules.dep"},
		"what it may do ": {"x", nil, "drivers that are built in have to do"},
	} {
		t.Run(name, func(t *testing.T) {
			d, log := initrd(t, test.kernel, test.files)
			if err := d.Open(nil); err != nil || d.Indexed() {
				t.Fatalf("%v, indexed %v", err, d.Indexed())
			}
			if !strings.Contains(log.String(), test.want) {
				t.Errorf("the log lacks %q: %s", test.want, log)
			}
			if why := d.WhyNone(); len(why) != 1 || !strings.Contains(why[0], test.want) {
				t.Errorf("no card, for %q", why)
			}
			if err := d.Drive(t.Context()); err != nil || d.Undriven() != nil {
				t.Errorf("%v, %v", err, d.Undriven())
			}
			if err := d.Require(t.Context(), "e1000"); err != nil {
				t.Error(err)
			}
			d.Stop()
		})
	}
}

// What the command line says of modules goes to the modprobe of the kernel,
// too, and not to that of stage 2.
func TestSharedRules(t *testing.T) {
	d, log := initrd(t, "", map[string]string{"modules.dep": "net/e1000.ko:\n"})
	params := cmdline.Parse("e1000.debug=16 modprobe.blacklist=i915,nouveau module_blacklist=snd quiet")
	if err := d.Open(params); err != nil || !d.Indexed() {
		t.Fatalf("%v, indexed %v", err, d.Indexed())
	}
	text, err := os.ReadFile(sharedRules)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"options e1000 debug=16", "blacklist i915", "blacklist nouveau", "blacklist snd"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is missing:\n%s", want, text)
		}
	}
	if err := d.Open(nil); err != nil { // a retry
		t.Error(err)
	}
	for range 2 {
		if err := Unshare(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(sharedRules); !os.IsNotExist(err) {
		t.Error("they are left to stage 2")
	}
	if log.Len() > 0 {
		t.Errorf("said %s", log)
	}
}

// A module that is not there may be built in; one that has to be there is
// missed by its name, and what modules-load.d wants is no reason to fail.
func TestModulesThatAreNotThere(t *testing.T) {
	d, log := initrd(t, "", map[string]string{"modules.dep": "net/e1000.ko:\n", "modules.builtin": "kernel/fs/ext4/ext4.ko\n"})
	write(t, "/etc/modules-load.d/a.conf", "# a comment\n; another\n\nnonsense\n")
	defer os.RemoveAll("/etc/modules-load.d")
	if err := d.Open(nil); err != nil {
		t.Fatal(err)
	}
	defer d.Stop()
	if err := d.Load(t.Context(), "loop", "nonsense", "ext4"); err != nil {
		t.Error(err)
	}
	if err := d.Require(t.Context(), "nonsense"); err == nil || !strings.Contains(err.Error(), "no module nonsense") {
		t.Error(err)
	}
	// Its file is missing, which is no guess.
	if err := d.Load(t.Context(), "loop", "e1000"); err == nil || strings.Contains(err.Error(), "loop") {
		t.Error(err)
	}
	if err := d.Drive(t.Context()); err != nil {
		t.Error(err)
	}
	if err := d.Drive(t.Context()); err != nil { // a retry
		t.Error(err)
	}
	if strings.Contains(log.String(), "nonsense") {
		t.Errorf("said %s", log)
	}
	if d.WhyNone() == nil && len(d.Undriven()) != 0 {
		t.Error("the reasons differ")
	}
	if !slices.Equal(d.WhyNone(), d.Undriven()) {
		t.Errorf("%q, %q", d.WhyNone(), d.Undriven())
	}
}
