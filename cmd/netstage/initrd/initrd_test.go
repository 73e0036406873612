package initrd

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ulikunitz/xz"

	"netstage/cmd/netstage/initrd/fake"
	"netstage/stage1/modindex"
)

var fakeModule = fake.Module

func writeTree(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, files[name], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func fakeTree(t *testing.T) string {
	const v = "vermagic=1.2.3 SMP"
	return writeTree(t, map[string][]byte{
		"kernel/drivers/net/ethernet/x/fast.ko":   fakeModule(v, "name=fast", "depends=lib-fast", "alias=pci:v00001111d*", "softdep=pre: crypto-sum post: later", "firmware=x/fast.bin", "firmware=x/gone.bin"),
		"kernel/lib/lib_fast.ko":                  fakeModule(v, "name=lib_fast", "depends="),
		"kernel/crypto/sum_generic.ko":            fakeModule(v, "name=sum_generic", "alias=crypto-sum"),
		"kernel/misc/later.ko":                    fakeModule(v, "name=later"),
		"kernel/drivers/net/virtio_net.ko":        fakeModule(v, "name=virtio_net", "alias=virtio:d00000001v*"),
		"kernel/drivers/virtio/virtio_pci.ko":     fakeModule(v, "name=virtio_pci"),
		"kernel/drivers/net/wireless/wifi.ko":     fakeModule(v, "name=wifi"),
		"kernel/drivers/net/usb/dongle.ko":        fakeModule(v, "name=dongle"),
		"kernel/drivers/usb/host/xhci-hcd.ko":     fakeModule(v, "name=xhci_hcd"),
		"kernel/drivers/block/loop.ko":            fakeModule(v, "name=loop"),
		"modules.builtin":                         []byte("kernel/fs/squashfs/squashfs.ko\n"),
		"build/tools/not-a-driver-of-this-one.ko": []byte("x"),
	})
}

func agent(t *testing.T) string {
	return filepath.Join(writeTree(t, map[string][]byte{"agent": []byte("I am the agent")}), "agent")
}

func build(t *testing.T, o Options) ([]byte, Report) {
	t.Helper()
	var b bytes.Buffer
	r, err := Build(t.Context(), o, &b)
	if err != nil {
		t.Fatal(err)
	}
	if r.Compressed != int64(b.Len()) {
		t.Errorf("%d bytes written, %d reported", b.Len(), r.Compressed)
	}
	return b.Bytes(), r
}

// unpack reads an initrd with Debian's zstd and cpio.
func unpack(t *testing.T, image []byte) string {
	t.Helper()
	for _, tool := range []string{"zstd", "cpio"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed")
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("device nodes need root")
	}
	dir, decompress := t.TempDir(), "zstd -dq"
	if bytes.HasPrefix(image, []byte("070701")) {
		decompress = "cat"
	}
	cmd := exec.Command("sh", "-e", "-c", decompress+" | cpio --quiet -idm")
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(image)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("zstd | cpio: %v\n%s", err, out)
	}
	return dir
}

func TestContents(t *testing.T) {
	var firmware bytes.Buffer
	x, err := xz.NewWriter(&firmware)
	if err != nil {
		t.Fatal(err)
	}
	x.Write([]byte("firmware"))
	x.Close()
	fw := writeTree(t, map[string][]byte{"x/fast.bin.xz": firmware.Bytes()})
	extra := writeTree(t, map[string][]byte{"key.pub": []byte("key"), "sub/a": []byte("a")})
	if err := os.Symlink("a", filepath.Join(extra, "sub/link")); err != nil {
		t.Fatal(err)
	}
	image, r := build(t, Options{
		KernelModules: fakeTree(t), Init: agent(t), FirmwareDir: fw,
		Files: []File{{filepath.Join(extra, "key.pub"), "/etc/netstage/trusted.d/a.pub"}, {filepath.Join(extra, "sub"), "/opt/sub"}},
	})
	dir := unpack(t, image)
	list, err := exec.Command("find", dir, "-mindepth", "1", "-printf", "%M %U:%G %T@ %s %P %l\n").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"-rwxr-xr-x 0:0 0.0000000000 14 init ",
		"crw------- 0:0 0.0000000000 0 dev/console ",
		"crw-rw-rw- 0:0 0.0000000000 0 dev/null ",
		"drwxrwxrwt 0:0 0.0000000000 4096 tmp ",
		"-rw-r--r-- 0:0 0.0000000000 8 lib/firmware/x/fast.bin ",
		"-rw-r--r-- 0:0 0.0000000000 3 etc/netstage/trusted.d/a.pub ",
		" 1 opt/sub/link a",
		"lib/modules/1.2.3/kernel/drivers/net/ethernet/x/fast.ko ",
	} {
		if !strings.Contains(string(list), want) {
			t.Errorf("no %q in\n%s", want, list)
		}
	}
	want := Report{
		Version: "1.2.3", Builtin: []string{"squashfs"}, Firmware: []string{"x/fast.bin"}, MissingFirmware: []string{"fast: x/gone.bin"},
		Modules: []string{"dongle", "fast", "later", "lib_fast", "loop", "sum_generic", "virtio_net", "virtio_pci", "xhci_hcd"},
	}
	r.Size, r.Compressed, r.Took = 0, 0, 0
	if diff := cmp.Diff(want, r); diff != "" {
		t.Error(diff)
	}
	ix, err := modindex.Open(filepath.Join(dir, "lib/modules/1.2.3"))
	if err != nil {
		t.Fatal(err)
	}
	order, err := ix.Order("pci:v00001111d2")
	if diff := cmp.Diff([]string{"lib_fast", "sum_generic", "fast", "later"}, order); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if !ix.Builtin("squashfs") {
		t.Error("squashfs is not known to be built in")
	}
}

func TestChoice(t *testing.T) {
	tree := fakeTree(t)
	for _, c := range []struct{ words, want string }{
		{"virtio_net", "loop virtio_net virtio_pci"},
		{"virtio:d00000001v00001AF4", "loop virtio_net virtio_pci"},
		{"dongle", "dongle loop virtio_pci xhci_hcd"},
		{"virtio-net +wifi", "loop virtio_net virtio_pci wifi"},
		{"squashfs", "loop virtio_pci"},
		{"+wifi -fast -dongle -xhci-hcd", "loop virtio_net virtio_pci wifi"},
		{"?wifi ?no_such_driver -fast -dongle -xhci-hcd", "loop virtio_net virtio_pci wifi"},
	} {
		_, r := build(t, Options{KernelModules: tree, Init: agent(t), Modules: strings.Fields(c.words)})
		if got := strings.Join(r.Modules, " "); got != c.want {
			t.Errorf("--module %s: got %s, want %s", c.words, got, c.want)
		}
	}
}

// What is left out is still known by the devices that it drives.
func TestUnpackedDriversAreKnown(t *testing.T) {
	image, r := build(t, Options{KernelModules: fakeTree(t), Init: agent(t), Modules: []string{"virtio_net"}})
	text, err := os.ReadFile(filepath.Join(unpack(t, image), "lib/modules", r.Version, modindex.UnpackedFile))
	if err != nil || string(text) != "alias pci:v00001111d* fast\n" {
		t.Errorf("%q %v", text, err)
	}
	image, r = build(t, Options{KernelModules: fakeTree(t), Init: agent(t)})
	if _, err := os.Stat(filepath.Join(unpack(t, image), "lib/modules", r.Version, modindex.UnpackedFile)); !os.IsNotExist(err) {
		t.Errorf("everything is packed: %v", err)
	}
}

func TestErrors(t *testing.T) {
	good := fakeTree(t)
	mixed := writeTree(t, map[string][]byte{
		"kernel/drivers/net/ethernet/a.ko":  fakeModule("vermagic=1.2.3 SMP"),
		"updates/drivers/net/ethernet/b.ko": fakeModule("vermagic=1.2.4 SMP"),
	})
	lacking := writeTree(t, map[string][]byte{"kernel/drivers/net/ethernet/a.ko": fakeModule("vermagic=1", "depends=lost")})
	broken := writeTree(t, map[string][]byte{"kernel/drivers/net/ethernet/a.ko": []byte("no elf")})
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"no agent", Options{KernelModules: good}, "no agent"},
		{"agent is missing", Options{Init: "/nonexistent/agent"}, "/nonexistent/agent"},
		{"no modules", Options{Init: agent(t), KernelModules: t.TempDir()}, "no .ko file"},
		{"unknown module", Options{Init: agent(t), KernelModules: good, Modules: []string{"e1000"}}, "module e1000: not in"},
		{"bad word", Options{Init: agent(t), KernelModules: good, Modules: []string{"+"}}, "+NAME"},
		{"two kernels", Options{Init: agent(t), KernelModules: mixed}, "two kernels"},
		{"dependency is missing", Options{Init: agent(t), KernelModules: lacking}, "a needs lost"},
		{"no module at all", Options{Init: agent(t), KernelModules: broken}, "no kernel module"},
		{"no firmware folder", Options{Init: agent(t), KernelModules: good, FirmwareDir: "/nonexistent"}, "firmware"},
		{"relative place", Options{Init: agent(t), Files: []File{{"/etc/hostname", "etc/x"}}}, "absolute path"},
		{"twice", Options{Init: agent(t), Files: []File{{agent(t), "/init"}}}, "/init is put in twice"},
		{"file is missing", Options{Init: agent(t), Files: []File{{"/nonexistent", "/x"}}}, "/nonexistent"},
		{"compression", Options{Init: agent(t), Compression: "rar"}, `unknown compression "rar"`},
	} {
		var b bytes.Buffer
		if _, err := Build(t.Context(), c.o, &b); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if b.Len() > 0 {
			t.Errorf("%s: %d bytes written", c.name, b.Len())
		}
	}
}

func TestSmallCompression(t *testing.T) {
	image, _ := build(t, Options{KernelModules: fakeTree(t), Init: agent(t), Compression: ZstdSmall})
	if _, err := os.Stat(filepath.Join(unpack(t, image), "init")); err != nil {
		t.Error(err)
	}
}

// nixpkgs' modulesTree has links where several packages have one part each.
func TestLinkedFolders(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"kernel/kernel/drivers/net/a.ko", "extra/b.ko.xz"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o444); err != nil {
			t.Fatal(err)
		}
	}
	tree := filepath.Join(dir, "tree")
	if err := os.Mkdir(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"kernel": "../kernel/kernel", "extra": "../extra", "build": "/nowhere", "modules.x": "/nowhere"} {
		if err := os.Symlink(to, filepath.Join(tree, name)); err != nil {
			t.Fatal(err)
		}
	}
	found, err := openTree(tree)
	if err != nil || len(found.paths) != 2 || !strings.HasSuffix(found.paths["a"], "drivers/net/a.ko") || !strings.HasSuffix(found.paths["b"], "extra/b.ko.xz") {
		t.Errorf("%v, %v", found, err)
	}
}

// Archives of microcode come first and as they are, at multiples of four bytes;
// what the kernel would not find is refused.
func TestPrepend(t *testing.T) {
	dir := writeTree(t, map[string][]byte{"ucode": []byte("070701 microcode"), "acpi": []byte("070701 tables"), "gz": []byte("\x1f\x8b"), "fw/asked.bin": []byte("firmware")})
	o := Options{Init: agent(t), Compression: None, Prepend: []string{dir + "/ucode", dir + "/acpi"}}
	b, _ := build(t, o)
	o.Prepend = nil
	plain, _ := build(t, o)
	if want := append([]byte("070701 microcode070701 tables\x00\x00\x00"), plain...); !bytes.Equal(b, want) {
		t.Errorf("begins with %q", b[:40])
	}
	for name, want := range map[string]string{"gz": "or compressed", "none": "no such file"} {
		o.Prepend = []string{dir + "/" + name}
		if _, err := Build(t.Context(), o, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Firmware that nothing names is packed when it is asked for.
	o = Options{Init: agent(t), KernelModules: fakeTree(t), FirmwareDir: dir + "/fw", FirmwareFiles: []string{"asked.bin", "gone.bin"}}
	_, r := build(t, o)
	if !slices.Contains(r.Firmware, "asked.bin") || !slices.Contains(r.MissingFirmware, "--firmware-file: gone.bin") {
		t.Errorf("firmware %q, missing %q", r.Firmware, r.MissingFirmware)
	}
}
