package kmod

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netstage/stage1/modindex"
)

// configured is a loader over netTree with the lines of modprobe.d.
func configured(t *testing.T, k *fakeKernel, lines string) (*Loader, *logBuffer) {
	t.Helper()
	l, log := newTestLoader(t, moduleTree(t, netTree, netFiles()), k)
	c := &modindex.Config{}
	if err := c.Read(strings.NewReader(lines)); err != nil {
		t.Fatal(err)
	}
	l.ix.Use(c)
	return l, log
}

// Options that are for an alias are those of whatever is loaded by it, in the
// order of the lines; by its own name a module gets its own alone.
func TestOptionsOfAnAlias(t *testing.T) {
	const lines = "alias net-pf-* virtio-net\noptions virtio_net a=1\noptions net-pf-* b=2\noptions virtio-net c=3\noptions crypto-crc32c d=4\noptions /dev/other e=5\n"
	for name, want := range map[string]map[string]string{
		"net-pf-10":     {"virtio_net": "a=1 b=2 c=3"},
		"net_pf_10":     {"virtio_net": "a=1 b=2 c=3"},
		"virtio-net":    {"virtio_net": "a=1 c=3"},
		"crypto-crc32c": {"crc32c_generic": "d=4"},
	} {
		k := &fakeKernel{}
		l, _ := configured(t, k, lines)
		if err := l.Load(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		delete(k.params, "failover")
		delete(k.params, "net_failover")
		if d := cmp.Diff(want, k.params); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	var out strings.Builder
	root := writeTree(t, map[string]string{"etc/modprobe.d/x.conf": lines, "lib/modules/1.2/modules.dep": netTree})
	if status := ModprobeMain([]string{"-d", root, "-S", "1.2", "-D", "net-pf-10", "x=y"}, &out, &out); status != 0 || !strings.Contains(out.String(), "virtio_net.ko a=1 b=2 c=3 x=y\n") {
		t.Errorf("modprobe -D: status %d, %s", status, &out)
	}
}

// A command of modprobe.d is run in the kernel's place, after what its module
// needs, with the options; the first one of a module counts.
func TestInstallCommands(t *testing.T) {
	ran := filepath.Join(t.TempDir(), "ran")
	k := &fakeKernel{}
	l, log := configured(t, k, "options b x=1\ninstall b echo $MODPROBE_MODULE $CMDLINE_OPTS >"+ran+"; echo 'words for people'\ninstall b /bin/false\n"+
		"install no-such-file :\ninstall ext4 exit 3\ninstall after /bin/sh -c 'exit 4'; /bin/true\n")
	evil := filepath.Join(t.TempDir(), "evil")
	l.ix.Config().KernelParam("b.y", "$(touch "+evil+");touch${IFS}"+evil, true)
	if err := l.Load(t.Context(), "b", "no-such-file"); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(ran); string(text) != "b x=1 y=\"$(touch "+evil+");touch${IFS}"+evil+"\"\n" {
		t.Errorf("the command was given %q", text)
	}
	if _, err := os.Stat(evil); err == nil {
		t.Error("the kernel command line has run a command")
	}
	if !strings.Contains(log.String(), "words for people") {
		t.Errorf("not logged:\n%s", log)
	}
	if got := k.names(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("loaded %v", got)
	}
	if err := l.Load(t.Context(), "ext4"); err == nil || !strings.Contains(err.Error(), `install: run "exit 3": exit status 3`) {
		t.Errorf("a command that fails: %v", err)
	}
	l.plain = []string{"b"}
	l.graph.nodes = map[string]*node{}
	if err := l.Load(t.Context(), "b"); err != nil || !slices.Contains(k.names(), "b") {
		t.Errorf("without its command: %v, loaded %v", err, k.names())
	}
}

// A command that does not end is ended, with what it started.
func TestInstallCommandThatHangs(t *testing.T) {
	ran := filepath.Join(t.TempDir(), "pids")
	l, _ := configured(t, &fakeKernel{}, "install ext4 (echo $$ >"+ran+"; sleep 1000); sleep 1000\n")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Load(ctx, "ext4") }()
	for begun := false; !begun; {
		text, _ := os.ReadFile(ran)
		begun = len(text) > 0
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("no error")
	}
	l.running.Wait() // for the command's end, too
}

// A driver whose file is missing is warned of, once for all, and by the device
// that has none.
func TestMissingFiles(t *testing.T) {
	dir := moduleTree(t, netTree, netFiles())
	file := filepath.Join(dir, "kernel/net/core/failover.ko")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	l, log := newTestLoader(t, dir, &fakeKernel{})
	for range 2 {
		if _, _, failed := l.drive(t.Context(), []string{"virtio:d00000001v00001AF4"}); len(failed) != 1 {
			t.Errorf("failed: %v", failed)
		}
	}
	want := `WARN modules: the index names files that are missing, for devices that are there: ` + file + `: pack the initrd again`
	if strings.Count(log.String(), want) != 1 {
		t.Errorf("not once:\n%s", log)
	}
	sysfs := writeTree(t, map[string]string{"bus/virtio/devices/virtio0/modalias": "virtio:d00000001v00001AF4\n", "bus/virtio/devices/virtio0/device": "0x0001\n"})
	missing := MissingDrivers(l.ix, sysfs)
	if len(missing) != 1 || !strings.Contains(missing[0].String(), "has no driver: the initrd's index names "+file+", which is missing; pack the initrd again") {
		t.Errorf("told: %v", missing)
	}
}
