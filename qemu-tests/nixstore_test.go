package qemutests

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"netstage/cmd/netstage/vm"
)

// realToplevel builds qemu-tests/nixos/toplevel.nix with Nix in a store of its
// own, offline, and returns the store's folder and the toplevel's path in it.
// withNix puts a nix-store into the system, which is most of its size.
func realToplevel(t *testing.T, withNix bool) (store, toplevel string) {
	t.Helper()
	if _, err := exec.LookPath("nix-build"); err != nil {
		t.Skip("needs Nix: run qemu-tests/setup/deps.sh")
	}
	if os.Getuid() != 0 {
		t.Skip("building into another store needs root")
	}
	dir := t.TempDir()
	store = filepath.Join(dir, "store")
	t.Cleanup(func() { exec.Command("chmod", "-R", "u+w", store).Run() }) // or it could not be removed

	box, nix := filepath.Join(dir, "box"), filepath.Join(dir, "nix")
	install(t, "/bin/busybox", filepath.Join(box, "bin/busybox"))
	for name := range strings.FieldsSeq("sh mkdir sed chmod echo cat wc ln poweroff") {
		if err := os.Symlink("busybox", filepath.Join(box, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(nix, 0o755); err != nil {
		t.Fatal(err)
	}
	if withNix {
		installNix(t, nix)
	}

	// As much of a kernel as the machine needs.
	kernels, kernel := setupDir(t, "kernels/"+xzModules), filepath.Join(dir, "kernel")
	install(t, one(t, kernels+"/boot/vmlinuz-*"), kernel+"/bzImage")
	for name := range strings.FieldsSeq("net/core/failover fs/overlayfs/overlay fs/squashfs/squashfs drivers/net/virtio_net drivers/net/net_failover drivers/block/loop") {
		module := one(t, kernels+"/lib/modules/*/kernel/"+name+".ko*")
		install(t, module, kernel+"/"+strings.TrimPrefix(module, kernels))
	}

	cmd := exec.Command("nix-build", "--store", store, "--no-out-link", "--option", "build-users-group", "", "--option", "substitute", "false",
		"nixos/toplevel.nix", "--arg", "box", box, "--arg", "nix", nix, "--arg", "kernel", kernel)
	cmd.Env = append(os.Environ(), "HOME="+dir)
	var says strings.Builder
	cmd.Stderr = &says
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("nix-build: %v\n%s", err, says.String())
	}
	return store, strings.TrimSpace(string(out))
}

// installNix puts nix-store, its libraries and their loader into dir.
func installNix(t *testing.T, dir string) {
	t.Helper()
	install(t, "/usr/bin/nix-store", filepath.Join(dir, "nix-store"))
	libraries, err := exec.Command("ldd", "/usr/bin/nix-store").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range regexp.MustCompile(`(/\S+) \(0x`).FindAllStringSubmatch(string(libraries), -1) {
		name := filepath.Base(found[1])
		if strings.HasPrefix(name, "ld-") {
			name = "ld.so"
		}
		install(t, found[1], filepath.Join(dir, name))
	}
}

// install copies a program.
func install(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// A toplevel that Nix built becomes a folder to be served by its path alone, or
// one initrd with all. The system that boots has a store that Nix accepts as
// its own.
func TestQEMURealToplevel(t *testing.T) {
	t.Parallel()
	store, toplevel := realToplevel(t, true)
	dir := t.TempDir()
	programs := filepath.Join(dir, "bin")
	install(t, build(t, agent), programs+"/stage1")
	install(t, build(t, "netstage/cmd/netstage"), programs+"/netstage")
	netstage := func(args ...string) string {
		t.Helper()
		args = append([]string{"image", "--toplevel", toplevel, "--store", store, "--compression", "zstd:1"}, args...)
		out, err := exec.Command(programs+"/netstage", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("netstage %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}

	folder := filepath.Join(dir, "boot")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if said := netstage("--boot", "--manifest", "-o", folder+"/nix-store.squashfs"); !strings.Contains(said, "init="+toplevel+"/init\n") {
		t.Errorf("netstage image says\n%s", said)
	}
	root, err := os.ReadFile(folder + "/nix-store.squashfs.roothash")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"nix-store.squashfs.manifest": `"init": "` + toplevel + `/init"`,
		"cmdline":                     "init=" + toplevel + "/init loglevel=6 tiny\n",
		"boot.ipxe":                   "rootfs.roothash=" + string(root) + " rootfs.base=${here} BOOTIF=01-${netX/mac:hexhyp} init=" + toplevel + "/init loglevel=6 tiny",
	} {
		if text, err := os.ReadFile(filepath.Join(folder, name)); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: %v, no %q in\n%s", name, err, want, text)
		}
	}

	// The same closure gives the same image: the root hash of the first is that
	// of the second.
	all := filepath.Join(dir, "all-in-one")
	netstage("--all-in-one", "-o", all)
	m := start(t, vm.Config{Kernel: folder + "/bzImage", Initrds: []string{all}, Direct: true, Memory: 1024,
		Init: toplevel + "/init", Append: "loglevel=6 rootfs.roothash=" + string(root)})
	m.end(vm.PowerOff, "stage 2: greetings from /nix/store/", "registration: accepted", "registered: 5 paths", "contents: verified",
		"/nix-store.squashfs of the initrd", "!nothing vouches", "!error:")
}
