package qemutests

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"netstage/cmd/netstage/initrd"
	"netstage/cmd/netstage/vm"
	"netstage/qemu-tests/nsmachine"
	"netstage/qemu-tests/system"
	"netstage/qemu-tests/trunk"
)

// The key that the firmware of vm.Config.SecureBoot trusts, of Debian's
// package ovmf.
const (
	snakeoilKey  = "/usr/share/ovmf/PkKek-1-snakeoil.key"
	snakeoilCert = "/usr/share/ovmf/PkKek-1-snakeoil.pem"
)

// unlock writes a private key without its password.
func unlock(t *testing.T, key, file string) {
	t.Helper()
	if out, err := exec.Command("openssl", "rsa", "-in", key, "-passin", "pass:snakeoil", "-out", file).CombinedOutput(); err != nil {
		t.Fatalf("openssl: %v\n%s", err, out)
	}
}

// ownKey makes a key that no firmware knows.
func ownKey(t *testing.T, key, cert string) {
	t.Helper()
	if out, err := exec.Command("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=somebody else",
		"-keyout", key, "-out", cert).CombinedOutput(); err != nil {
		t.Fatalf("openssl: %v\n%s", err, out)
	}
}

// makeUKI joins kernel and initrd by the tool, as a user does.
func makeUKI(t *testing.T, c vm.Config, cmdline, output string, flags ...string) {
	t.Helper()
	args := append([]string{"uki", "--kernel", c.Kernel, "--initrd", c.Initrds[0], "--cmdline", cmdline, "-o", output}, flags...)
	if out, err := exec.Command(build(t, "netstage/cmd/netstage"), args...).CombinedOutput(); err != nil {
		t.Fatalf("netstage uki: %v\n%s", err, out)
	}
}

// A unified kernel image under Secure Boot: the one that the firmware's key
// signed boots to stage 2, from its own command line; one without a signature,
// with another's, or with a changed byte in its command line does not start.
func TestQEMUSecureBoot(t *testing.T) {
	t.Parallel()
	dir, a := t.TempDir(), store(t, classic())
	at := func(name string) string { return filepath.Join(dir, name) }
	install(t, a.path, at("web/nix-store.squashfs"))
	unlock(t, snakeoilKey, at("db.key"))
	ownKey(t, at("other.key"), at("other.pem"))
	c := guestPacked(t, xzModules)
	cmdline := "console=ttyS0 panic=-1 loglevel=6 rootfs=nix-store.squashfs rootfs.sha256=" + a.sha256 + " init=" + system.Init
	makeUKI(t, c, cmdline, at("signed.efi"), "--sign-key", at("db.key"), "--sign-cert", snakeoilCert)
	makeUKI(t, c, cmdline, at("unsigned.efi"))
	makeUKI(t, c, cmdline, at("other.efi"), "--sign-key", at("other.key"), "--sign-cert", at("other.pem"))
	signed, err := os.ReadFile(at("signed.efi"))
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(signed, []byte("loglevel=6"), []byte("loglevel=7"), 1)
	if bytes.Equal(changed, signed) {
		t.Fatal("the command line is not in the image as it was given")
	}
	writeFile(t, at("changed.efi"), string(changed))

	machine := vm.Config{SecureBoot: true, Memory: 1024, Dir: at("web")}
	for _, name := range []string{"unsigned", "other", "changed"} {
		t.Run(name, func(t *testing.T) {
			machine.EFI = at(name + ".efi")
			m := start(t, machine)
			m.expect("failed to load")
			m.expect("Access Denied")
			if bytes.Contains([]byte(m.Console()), []byte("Linux version")) {
				t.Error("its kernel was started")
			}
		})
	}
	t.Run("signed", func(t *testing.T) {
		machine.EFI = at("signed.efi")
		start(t, machine).end(vm.PowerOff, "UEFI Secure Boot is enabled", "verified", "stage 2: pid 1")
	})
	// A boot loader that is signed, too, and has parameters of its own for it:
	// they have no effect.
	t.Run("by a loader", func(t *testing.T) {
		install(t, at("signed.efi"), at("esp/boot.efi"))
		writeFile(t, at("esp/loader/loader.conf"), "timeout 0\ndefault netstage.conf\n")
		writeFile(t, at("esp/loader/entries/netstage.conf"), "title netstage\nefi /boot.efi\noptions "+cmdline+" of=the-loader rdinit=/bin/false\n")
		install(t, bootLoader, at("loader.efi"))
		if err := os.MkdirAll(at("esp/EFI/BOOT"), 0o755); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("sbsign", "--key", at("db.key"), "--cert", snakeoilCert, "--output", at("esp/EFI/BOOT/BOOTX64.EFI"), at("loader.efi")).CombinedOutput(); err != nil {
			t.Fatalf("sbsign: %v\n%s", err, out)
		}
		server := httptest.NewServer(http.FileServer(http.Dir(at("web"))))
		t.Cleanup(server.Close)
		_, port, err := net.SplitHostPort(server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		start(t, vm.Config{SecureBoot: true, Memory: 1024, BootURL: "http://10.0.2.2:" + port + "/none", ExtraArgs: []string{
			"-drive", "if=none,id=loader,format=raw,readonly=on,file=fat:" + at("esp"), "-device", "virtio-blk-pci,drive=loader,bootindex=0",
		}}).end(vm.PowerOff, "UEFI Secure Boot is enabled", "verified", "stage 2: pid 1", "!of=the-loader")
	})
}

// bootLoader is systemd's, of Debian's package systemd-boot-efi.
const bootLoader = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi"

// The same by UEFI HTTP Boot: the firmware itself asks DHCP and the web server,
// and the image is found beside the program.
func TestQEMUHTTPBoot(t *testing.T) {
	t.Parallel()
	dir, a := t.TempDir(), store(t, classic())
	install(t, a.path, dir+"/nix-store.squashfs")
	key := filepath.Join(t.TempDir(), "db.key")
	unlock(t, snakeoilKey, key)
	makeUKI(t, guestPacked(t, xzModules), "console=ttyS0 panic=-1 rootfs=nix-store.squashfs rootfs.sha256="+a.sha256+" init="+system.Init, dir+"/boot.efi",
		"--sign-key", key, "--sign-cert", snakeoilCert)

	lan := nsmachine.NewLAN(t)
	url := lan.Serve(t, http.FileServer(http.Dir(dir)))
	lan.DHCP(t, "--dhcp-match=set:http,option:client-arch,16", "--dhcp-option-force=tag:http,60,HTTPClient",
		"--dhcp-boot="+url+"boot.efi")
	var s trunk.Trunk
	s.Start(t, lan.Tap(t), 1)
	start(t, vm.Config{
		SecureBoot: true, Memory: 1024, BootURL: url, NICs: []vm.NIC{{MAC: "52:54:00:00:00:01", Backend: s.Backend(0)}},
		// The firmware's own drivers and HTTP client, not those of iPXE.
		ExtraArgs: []string{"-global", "virtio-net-pci.romfile="},
	}).end(vm.PowerOff, "UEFI Secure Boot is enabled", "verified", "stage 2: pid 1")
}

// Chained by iPXE without Secure Boot, the command line is iPXE's: the file's
// name, if nothing else. What the initrd itself has for parameters holds all
// the same.
func TestQEMUChainedByIPXE(t *testing.T) {
	t.Parallel()
	dir, a := t.TempDir(), store(t, classic())
	install(t, a.path, dir+"/nix-store.squashfs")
	writeFile(t, dir+"/boot.ipxe", "#!ipxe\nchain boot.efi console=ttyS0\n")
	own := filepath.Join(t.TempDir(), "cmdline")
	writeFile(t, own, "rootfs=nix-store.squashfs rootfs.sha256="+a.sha256+" init="+system.Init+"\n")
	c := guestPacked(t, xzModules, initrd.File{Source: own, Target: "/etc/netstage/cmdline"})
	makeUKI(t, c, "console=ttyS0 of=the-file", dir+"/boot.efi")
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	start(t, vm.Config{UEFI: true, Memory: 1024, BootURL: "http://10.0.2.2:" + port + "/boot.ipxe"}).end(vm.PowerOff,
		"Command line: boot.efi console=ttyS0", "!of=the-file", "verified", "stage 2: pid 1")
}
