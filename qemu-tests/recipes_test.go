package qemutests

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"netstage/cmd/netstage/initrd"
	"netstage/cmd/netstage/vm"
	"netstage/qemu-tests/nsmachine"
	"netstage/qemu-tests/system"
	"netstage/qemu-tests/trunk"
)

// recipesOf are the recipes of a document, by name: what is indented after a
// comment that names one.
func recipesOf(t *testing.T, document string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	recipes := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^<!-- recipe: (\S+) -->\n\n((?:    .*\n|\n)+)`).FindAllStringSubmatch(string(text), -1) {
		recipes[m[1]] = strings.TrimSpace(regexp.MustCompile(`(?m)^    `).ReplaceAllString(m[2], "")) + "\n"
	}
	return recipes
}

// A kitchen is a folder in which recipes are run: with boot/, as docs/deploy.md
// makes it, and the tool in the PATH.
type kitchen struct {
	t       *testing.T
	dir     string
	recipes map[string]string
}

func newKitchen(t *testing.T) *kitchen {
	t.Helper()
	k := &kitchen{t: t, dir: t.TempDir(), recipes: recipesOf(t, "../docs/media.md")}
	c := guestOf(t, xzModules, initrd.Options{Modules: []string{"virtio_net"}, Compression: initrd.Zstd, Disks: true, FileSystems: []string{"iso9660"}})
	files, err := system.Store(classic())
	if err != nil {
		t.Fatal(err)
	}
	if err := files.Write(k.at("store")); err != nil {
		t.Fatal(err)
	}
	install(t, c.Kernel, k.at("boot/bzImage"))
	install(t, c.Initrds[0], k.at("boot/initrd"))
	writeFile(t, k.at("boot/cmdline"), "init="+system.Init+" console=ttyS0 panic=-1 loglevel=6\n")
	k.run("netstage image store -o boot/nix-store.squashfs\n")
	return k
}

// fresh is a kitchen with the same folder boot, and nothing that was made of
// it.
func (k *kitchen) fresh(t *testing.T) *kitchen {
	other := &kitchen{t: t, dir: t.TempDir(), recipes: k.recipes}
	other.run("cp -r " + k.at("boot") + " boot\n")
	return other
}

func (k *kitchen) at(name string) string { return filepath.Join(k.dir, name) }

// run runs commands, after those that tell what a medium boots.
func (k *kitchen) run(script string) string {
	k.t.Helper()
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = k.dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(build(k.t, "netstage/cmd/netstage"))+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		k.t.Fatalf("%v\n%s\n%s", err, script, out)
	}
	return string(out)
}

// follow runs recipes, in a shell that knows $cmdline.
func (k *kitchen) follow(names ...string) {
	k.t.Helper()
	script := k.recipes["cmdline"]
	for _, name := range names {
		if k.recipes[name] == "" {
			k.t.Fatalf("docs/media.md has no recipe %s", name)
		}
		script += k.recipes[name]
	}
	k.run(script)
}

// lan is a network whose server has the folder boot, as the document has it.
func (k *kitchen) lan(dhcp ...string) vm.NIC {
	k.t.Helper()
	lan := nsmachine.NewLAN(k.t)
	server := &http.Server{Handler: http.FileServer(http.Dir(k.at("boot")))}
	listener := lan.Listen(k.t, nsmachine.Gateway+":80")
	go func() { _ = server.Serve(listener) }() // until Close
	k.t.Cleanup(func() { server.Close() })
	lan.DHCP(k.t, dhcp...)
	var s trunk.Trunk
	s.Start(k.t, lan.Tap(k.t), 1)
	return vm.NIC{MAC: "52:54:00:00:00:01", Backend: s.Backend(0)}
}

// bootServer has the folder boot: no HTTP server of QEMU's is started.
const bootServer = "http://" + nsmachine.Gateway + "/"

// disk is a disk that the firmware boots from first.
func disk(file string) []string {
	return []string{"-drive", "if=none,id=boot,format=raw,snapshot=on,file=" + file, "-device", "virtio-blk-pci,drive=boot,bootindex=0"}
}

// partition boots the folder esp as an EFI system partition.
func (k *kitchen) partition() vm.Config {
	return vm.Config{UEFI: true, Memory: 1024, BootURL: bootServer, NICs: []vm.NIC{k.lan()}, ExtraArgs: disk("fat:" + k.at("esp"))}
}

// media are the recipes, each with the machine that boots what it makes, and
// what is to be seen then.
var media = map[string]struct {
	steps []string
	boots func(*kitchen) vm.Config
	shown []string
}{
	"systemd-boot": {steps: []string{"systemd-boot"}, boots: (*kitchen).partition, shown: []string{"verified"}},
	"grub":         {steps: []string{"grub"}, boots: (*kitchen).partition, shown: []string{"BOOT_IMAGE=/netstage/bzImage", "verified"}},
	"uki":          {steps: []string{"uki"}, boots: (*kitchen).partition, shown: []string{"verified"}},
	"iso": {steps: []string{"iso"}, boots: func(k *kitchen) vm.Config {
		return vm.Config{BootURL: bootServer, Memory: 1024, NoNIC: true, NICs: []vm.NIC{}, ExtraArgs: disk(k.at("boot/netstage.iso"))}
	}, shown: []string{"LABEL=NETSTAGE", "/nix-store.squashfs"}},
	"iso by UEFI": {steps: []string{"iso"}, boots: func(k *kitchen) vm.Config {
		return vm.Config{UEFI: true, BootURL: bootServer, Memory: 1024, NoNIC: true, NICs: []vm.NIC{}, ExtraArgs: disk(k.at("boot/netstage.iso"))}
	}, shown: []string{"LABEL=NETSTAGE", "/nix-store.squashfs"}},
	"http-boot": {steps: []string{"iso"}, boots: func(k *kitchen) vm.Config {
		var options []string
		for line := range strings.Lines(k.recipes["http-boot"]) {
			options = append(options, "--"+strings.TrimSpace(line))
		}
		return vm.Config{UEFI: true, BootURL: bootServer, Memory: 2048, NICs: []vm.NIC{k.lan(options...)},
			ExtraArgs: []string{"-global", "virtio-net-pci.romfile="}} // the firmware's own driver
	}, shown: []string{"LABEL=NETSTAGE", "pmem0", "/nix-store.squashfs"}},
	"sanboot": {steps: []string{"sanboot"}, boots: func(k *kitchen) vm.Config {
		return vm.Config{BootURL: bootServer, Memory: 1024, NICs: []vm.NIC{k.lan("--dhcp-boot=" + bootServer + "san.ipxe")}}
	}, shown: []string{"BOOT_IMAGE=/bzImage", "verified"}},
	"iso-as-image": {steps: []string{"iso", "iso-as-image", "grub"}, boots: (*kitchen).partition, shown: []string{"it is an ISO image, the system is in its /nix-store.squashfs"}},
}

// TestQEMURecipes runs the recipes of docs/media.md as they are written, and
// boots what $NETSTAGE_RECIPES names to stage 2: all, as make recipes does, or
// one.
func TestQEMURecipes(t *testing.T) {
	t.Parallel()
	booted := cmp.Or(os.Getenv("NETSTAGE_RECIPES"), "systemd-boot")
	k := newKitchen(t)
	used := []string{"cmdline", "aarch64", "http-boot"}
	for _, m := range media {
		used = append(used, m.steps...)
	}
	for name := range k.recipes {
		if !slices.Contains(used, name) {
			t.Errorf("nobody boots what the recipe %s makes", name)
		}
	}
	for name, m := range media {
		t.Run(name, func(t *testing.T) {
			boots := booted == "all" || booted == name
			if !boots && !slices.Contains(m.steps, name) { // others run its steps
				return
			}
			k := k.fresh(t)
			k.follow(m.steps...)
			if boots {
				start(t, m.boots(k)).end(vm.PowerOff, append(m.shown, "stage 2: pid 1")...)
			}
		})
	}
	if booted == "all" || booted == "aarch64" { // it takes a kernel of that architecture
		t.Run("aarch64", bootAArch64)
	}
}

// bootAArch64 builds the agent and an initrd for another architecture,
// and boots them to where stage 2 would be started.
func bootAArch64(t *testing.T) {
	k := &kitchen{t: t, dir: t.TempDir(), recipes: recipesOf(t, "../docs/media.md")}
	kernel := setupDir(t, "kernels-arm64/6.1-arm64")
	copying := exec.Command("sh", "-c", `cd .. && git ls-files -z | xargs -0 cp --parents -t "$0"`, k.dir)
	if out, err := copying.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.Symlink(kernel, k.at("arm64")); err != nil {
		t.Fatal(err)
	}
	k.run("mkdir boot\n" + k.recipes["aarch64"])
	// Any static program of that architecture will do as stage 2.
	k.run("install -D stage1-arm64 root/sbin/init && mksquashfs root boot/root.squashfs -quiet -no-progress\n")
	server := httptest.NewServer(http.FileServer(http.Dir(k.at("boot"))))
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a57", "-m", "1024", "-nographic", "-no-reboot", "-nic", "user,model=virtio-net-pci",
		"-kernel", one(t, kernel+"/boot/vmlinuz-*"), "-initrd", k.at("boot/initrd-arm64"),
		"-append", "console=ttyAMA0 panic=-1 loglevel=6 boot.check boot.fail_timeout=1 init=/sbin/init rootfs=http://10.0.2.2:"+port+"/root.squashfs").CombinedOutput()
	if want := "boot.check: stage 2 would be started, init /sbin/init"; err != nil || !strings.Contains(string(out), want) {
		t.Errorf("%v: it does not say %q\n%s", err, want, out)
	}
}
