package qemutests

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"netstage/cmd/netstage/netboot"
	"netstage/cmd/netstage/vm"
	"netstage/qemu-tests/system"
)

// tree is a folder to be served, with the scripts for any loader: a kernel, an
// initrd, an image and what vouches for it.
func tree(t *testing.T) string {
	t.Helper()
	c, a, dir := guestPacked(t, xzModules), store(t, classic()), t.TempDir()
	install(t, c.Kernel, dir+"/vmlinuz")
	install(t, c.Initrds[0], dir+"/initrd")
	install(t, a.path, dir+"/nix-store.squashfs")
	writeFile(t, dir+"/nix-store.squashfs.sha256", a.sha256+"\n")
	writeFile(t, dir+"/cmdline", "init="+system.Init+" console=ttyS0 panic=-1 loglevel=6\n")
	if _, _, err := netboot.WriteScripts(t.Context(), dir, false); err != nil {
		t.Fatal(err)
	}
	return dir
}

// rEFInd itself, on an EFI system partition as docs/nixos.md has it laid out,
// boots what refind.conf says.
func TestQEMUByRefind(t *testing.T) {
	t.Parallel()
	const refind = "/usr/share/refind/refind/refind_x64.efi"
	if _, err := os.Stat(refind); err != nil {
		t.Skipf("%v: run qemu-tests/setup/deps.sh", err)
	}
	dir, partition := tree(t), t.TempDir()
	install(t, refind, partition+"/EFI/BOOT/BOOTX64.EFI")
	writeFile(t, partition+"/EFI/BOOT/refind.conf", "timeout 1\ntextonly true\nscanfor manual\ninclude netstage.conf\n")
	install(t, dir+"/refind.conf", partition+"/EFI/BOOT/netstage.conf")
	install(t, dir+"/vmlinuz", partition+"/EFI/netstage/vmlinuz")
	install(t, dir+"/initrd", partition+"/EFI/netstage/initrd")

	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	start(t, vm.Config{
		UEFI: true, Memory: 1024, BootURL: "http://10.0.2.2:" + port + "/boot.ipxe",
		ExtraArgs: []string{"-drive", "if=none,id=esp,format=raw,readonly=on,file=fat:" + partition, "-device", "virtio-blk-pci,drive=esp,bootindex=0"},
	}).end(vm.PowerOff, "rEFInd", "verified", "stage 2: pid 1")
}

// A running Linux starts what lies in the folder by kexec-boot; no server is
// asked.
func TestQEMUByKexec(t *testing.T) {
	t.Parallel()
	const kexec = "/usr/sbin/kexec"
	libraries, err := exec.Command("ldd", kexec).Output()
	if err != nil {
		t.Skipf("ldd %s: %v: run qemu-tests/setup/deps.sh", kexec, err)
	}
	running := t.TempDir()
	install(t, "/bin/busybox", running+"/bin/busybox")
	install(t, kexec, running+"/bin/kexec")
	for _, found := range regexp.MustCompile(`(/\S+) \(0x`).FindAllStringSubmatch(string(libraries), -1) {
		install(t, found[1], running+found[1])
	}
	dir := tree(t)
	for _, name := range []string{"vmlinuz", "initrd", "nix-store.squashfs", "kexec-boot"} {
		install(t, filepath.Join(dir, name), filepath.Join(running, "srv", name))
	}
	writeFile(t, running+"/init", `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
export PATH=/bin
echo "the running system: $(uname -r)"
/srv/kexec-boot by=kexec-boot
poweroff -f
`)
	archive := filepath.Join(t.TempDir(), "running.cpio")
	cpio := exec.Command("sh", "-c", `find . | cpio --quiet -o -H newc -R 0:0 >"$0"`, archive)
	cpio.Dir = running
	if out, err := cpio.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	start(t, vm.Config{
		Kernel: dir + "/vmlinuz", Initrds: []string{archive}, Direct: true, Plain: true, NoNIC: true, Memory: 1024,
		Append: "console=ttyS0 panic=-1 loglevel=4",
	}).end(vm.PowerOff, "the running system: ", "by=kexec-boot", "/nix-store.squashfs of the initrd", "stage 2: pid 1")
}
