package qemutests

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"netstage/cmd/netstage/vm"
)

// The NixOS module's derivations, evaluated with stand-ins for nixpkgs
// (nix/testdata/eval.nix), are built by their own scripts, and what
// run-netstage-vm starts boots through iPXE to the toplevel that Nix built.
func TestQEMUModule(t *testing.T) {
	t.Parallel()
	store, toplevel := realToplevel(t, false)
	kernels := setupDir(t, "kernels/"+xzModules)
	kernel := one(t, kernels+"/boot/vmlinuz-*")
	work := t.TempDir()
	programs := filepath.Join(work, "package")
	install(t, build(t, agent), programs+"/bin/stage1")
	install(t, build(t, "netstage/cmd/netstage"), programs+"/bin/netstage")
	install(t, "/sbin/e2fsck", work+"/e2fsprogs/bin/e2fsck")

	// As closureInfo of nixpkgs writes it.
	closure, err := exec.Command("sh", "-c", `nix-store --store "$1" --dump-db $(nix-store --store "$1" --query --requisites "$2")`, "sh", store, toplevel).Output()
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, work+"/closure/registration", string(closure))
	writeFile(t, work+"/modprobe-nixos", "blacklist pcspkr\n")

	cmd := exec.Command("nix-instantiate", "--store", store, "--option", "build-users-group", "", "--read-write-mode", "--eval", "--strict", "--json", "../nix/testdata/eval.nix",
		"--arg", "settings", `{
			boot.netstage = { enable = true; allNetworkDrivers = false; modules = [ "virtio_net" ]; squashfs.compression = "zstd:1"; policy.verify = "required"; };
			fileSystems."/persist" = { device = "/dev/disk/by-label/persist"; fsType = "ext4"; options = [ "nofail" "x-systemd.device-timeout=1s" ]; neededForBoot = true; };
			fileSystems."/scratch" = { device = "tmpfs"; fsType = "tmpfs"; neededForBoot = true; };
		}`,
		"--argstr", "package", programs, "--argstr", "closure", work+"/closure", "--argstr", "toplevel", toplevel,
		"--argstr", "kernel", filepath.Dir(kernel), "--argstr", "kernelFile", filepath.Base(kernel),
		"--argstr", "modulesTree", kernels, "--argstr", "modDirVersion", filepath.Base(one(t, kernels+"/lib/modules/*")),
		"--argstr", "work", work, "--argstr", "store", store, "--argstr", "e2fsprogs", work+"/e2fsprogs")
	cmd.Env = append(os.Environ(), "HOME="+work)
	var says strings.Builder
	cmd.Stderr = &says
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("nix-instantiate: %v\n%s", err, says.String())
	}
	var module struct {
		Failed  []string
		Outputs map[string]struct{ Path, Script string }
	}
	if err := json.Unmarshal(text, &module); err != nil || len(module.Failed) > 0 {
		t.Fatal(err, module.Failed)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	run := func(name string, args ...string) string {
		t.Helper()
		output := module.Outputs[name]
		// The closure is in the store of this test, not in this system's.
		script := strings.ReplaceAll(output.Script, "--closure-info "+work+"/closure", "--closure-info "+work+"/closure --store "+store)
		sh := exec.CommandContext(ctx, "bash", append([]string{"-euc", script, name}, args...)...)
		sh.Dir = t.TempDir()
		sh.Env = append(os.Environ(), "out="+output.Path, "PATH="+programs+"/bin:"+os.Getenv("PATH"), "SOURCE_DATE_EPOCH=315532800")
		out, err := sh.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s\n%s", name, err, output.Script, out)
		}
		return string(out)
	}
	for _, name := range []string{"netstageImage", "netstageRamdisk", "netstageTree", "netstageIpxeScript"} {
		run(name)
	}
	tree := module.Outputs["netstageTree"].Path
	for _, name := range []string{"bzImage", "initrd", "nix-store.squashfs", "nix-store.squashfs.sha256", "nix-store.squashfs.verity", "nix-store.squashfs.roothash",
		"nix-store.squashfs.manifest", "cmdline", "boot.ipxe", "refind.conf", "kexec-boot"} {
		if _, err := os.Stat(filepath.Join(tree, name)); err != nil {
			t.Error(err)
		}
	}
	console := run("netstageVm", "--append", "loglevel=6")
	for _, want := range []string{"iPXE", "verified", "ready for stage 2", "stage 2: greetings from /nix/store/",
		"disks: /persist is not mounted: no-device", "disks: /scratch mounted (tmpfs)"} {
		if !strings.Contains(console, want) {
			t.Errorf("no %q on the console:\n%s", want, console)
		}
	}

	// The same folder on a web server that knows nothing of it: boot.ipxe and
	// all that it names are plain files.
	cmdline, err := os.ReadFile(tree + "/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, tree+"/cmdline", strings.TrimSpace(string(cmdline))+" console=ttyS0 panic=-1 loglevel=6\n")
	if out, err := exec.Command(programs+"/bin/netstage", "scripts", tree).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	server := httptest.NewServer(http.FileServer(http.Dir(tree)))
	t.Cleanup(server.Close)
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	m := start(t, vm.Config{BootURL: "http://10.0.2.2:" + port + "/boot.ipxe", Memory: 1024})
	m.end(vm.PowerOff, "verified", "stage 2: greetings from /nix/store/")

	// kexec-boot, as far as kexec: what it would load boots without a network.
	kexec := filepath.Join(work, "kexec")
	writeFile(t, kexec+"/kexec", `#!/bin/sh
for arg; do case $arg in
--initrd=*) cp "${arg#--initrd=}" `+kexec+`/initrd ;;
--command-line=*) echo "${arg#--command-line=}" >`+kexec+`/cmdline ;;
esac; done
`)
	load := exec.Command(tree+"/kexec-boot", "--load", "quiet")
	load.Env = append(os.Environ(), "PATH="+kexec+":"+os.Getenv("PATH"), "TMPDIR="+work)
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmdline, err = os.ReadFile(kexec + "/cmdline")
	if err != nil || !strings.HasSuffix(string(cmdline), " quiet\n") {
		t.Fatalf("%v, the command line is %q", err, cmdline)
	}
	m = start(t, vm.Config{Kernel: tree + "/bzImage", Initrds: []string{kexec + "/initrd"}, Direct: true, Plain: true, Append: string(cmdline), Memory: 1024})
	m.end(vm.PowerOff, "/nix-store.squashfs of the initrd", "!nothing vouches", "stage 2: greetings from /nix/store/")
}
