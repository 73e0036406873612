package qemutests

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"netstage/cmd/netstage/initrd"
	"netstage/cmd/netstage/vm"
)

// realToplevel builds qemu-tests/nixos/toplevel.nix with Nix in a store of its own, offline, and returns the store's
// folder and the toplevel's path in it. withNix puts a nix-store into the system, which is most of its size.
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
	for name := range strings.FieldsSeq("sh mkdir sed chmod echo cat wc poweroff") {
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

	cmd := exec.Command("nix-build", "--store", store, "--no-out-link", "--option", "build-users-group", "", "--option", "substitute", "false",
		"nixos/toplevel.nix", "--arg", "box", box, "--arg", "nix", nix)
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

// A toplevel that Nix built becomes an image by its path alone, and all-in-one an initrd that pins it. The system
// that boots has a store that Nix accepts as its own.
func TestQEMURealToplevel(t *testing.T) {
	store, toplevel := realToplevel(t, true)
	tool := build(t, "netstage/cmd/netstage")
	dir := t.TempDir()
	image := filepath.Join(dir, "nix-store.squashfs")
	netstage := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(tool, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("netstage %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	said := netstage("image", "--toplevel", toplevel, "--store", store, "--compression", "zstd:1", "--manifest", "-o", image)
	if !strings.Contains(said, "init="+toplevel+"/init\n") {
		t.Errorf("netstage image says\n%s", said)
	}
	if text, err := os.ReadFile(image + ".manifest"); err != nil || !strings.Contains(string(text), toplevel+"/init") {
		t.Errorf("manifest: %v\n%s", err, text)
	}
	root, err := os.ReadFile(image + ".roothash")
	if err != nil {
		t.Fatal(err)
	}

	// The same closure gives the same image: what was pinned is what is appended.
	pins := filepath.Join(dir, "cmdline")
	writeFile(t, pins, "init="+toplevel+"/init\nrootfs.roothash="+string(root)+"\n")
	c := guest(t, xzModules, initrd.File{Source: pins, Target: "/etc/netstage/cmdline"})
	all := filepath.Join(dir, "all-in-one")
	netstage("image", "--toplevel", toplevel, "--store", store, "--compression", "zstd:1", "--all-in-one", "--initrd", c.Initrds[0], "-o", all)

	c.Initrds, c.Direct = []string{all}, true
	m := start(t, c)
	m.end(vm.PowerOff, "stage 2: greetings from /nix/store/", "registration: accepted", "registered: 4 paths", "contents: verified",
		"MiB", "!nothing vouches", "!error:")
}
