package netboot

import (
	"bytes"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// bootFolder is a folder as netstage image --boot leaves it.
func bootFolder(t *testing.T, more map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{
		"bzImage": "kernel", "initrd.zst": "initrd", "nix-store.squashfs": "image!", "nix-store.squashfs.verity": "the tree",
		"nix-store.squashfs.roothash": strings.Repeat("ab", 32), "cmdline": "init=/nix/store/x/init it's=quoted",
	}
	for name, text := range more {
		files[name] = text
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestWriteScripts(t *testing.T) {
	dir := bootFolder(t, nil)
	names, _, err := WriteScripts(t.Context(), dir, false)
	if err != nil || strings.Join(names, " ") != "boot.ipxe refind.conf kexec-boot" {
		t.Fatal(names, err)
	}
	pin := "rootfs.roothash=" + strings.Repeat("ab", 32)
	for name, wants := range map[string][]string{
		"boot.ipxe": {"#!ipxe\n", "\nisset ${cwduri} && set here ${cwduri} || set here ${filename}/..\n", "\nkernel bzImage initrd=initrd.zst rootfs=nix-store.squashfs " + pin + " rootfs.base=${here} BOOTIF=01-${netX/mac:hexhyp} init=/nix/store/x/init it's=quoted ${cmdline} || goto failed\n", "\ninitrd initrd.zst || goto failed\n"},
		"refind.conf": {"loader /EFI/netstage/bzImage\n", "initrd /EFI/netstage/initrd.zst\n",
			`options "rootfs=nix-store.squashfs ` + pin + ` init=/nix/store/x/init it's=quoted"`},
	} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s: no %q in\n%s", name, want, text)
			}
		}
	}
}

// kexec-boot gives kexec an initrd that ends with the image, as cpio reads it.
func TestKexecBoot(t *testing.T) {
	dir, bin := bootFolder(t, nil), t.TempDir()
	if _, _, err := WriteScripts(t.Context(), dir, false); err != nil {
		t.Fatal(err)
	}
	loaded := filepath.Join(bin, "loaded")
	fake := "#!/bin/sh\nfor arg; do\n\tcase $arg in --initrd=*) cp \"${arg#--initrd=}\" " + loaded + " ;; esac\n\techo \"kexec: $arg\"\ndone\n"
	if err := os.WriteFile(filepath.Join(bin, "kexec"), []byte(fake), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, "kexec-boot"), "--load", "quiet")
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "TMPDIR="+bin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := "kexec: --load\nkexec: bzImage\n"
	command := "kexec: --command-line=rootfs.roothash=" + strings.Repeat("ab", 32) + " init=/nix/store/x/init it's=quoted quiet\n"
	if !strings.HasPrefix(string(out), want) || !strings.HasSuffix(string(out), command) {
		t.Errorf("kexec got\n%s", out)
	}
	text, err := os.ReadFile(loaded)
	if err != nil {
		t.Fatal(err)
	}
	archive, found := bytes.CutPrefix(text, []byte("initrd\x00\x00"))
	if !found {
		t.Fatalf("the initrd begins with %q", text[:16])
	}
	for name, content := range map[string]string{"nix-store.squashfs": "image!", "nix-store.squashfs.verity": "the tree"} {
		cpio := exec.Command("cpio", "-i", "--quiet", "--to-stdout", name)
		cpio.Stdin = bytes.NewReader(archive)
		if got, err := cpio.CombinedOutput(); err != nil || string(got) != content {
			t.Errorf("%s: %v, %q", name, err, got)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(bin, "netstage-initrd.*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}

	// An image that is fetched stays where it is.
	dir = bootFolder(t, map[string]string{"cmdline": "rootfs=http://srv/x.squashfs init=/i"})
	if _, _, err := WriteScripts(t.Context(), dir, false); err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(filepath.Join(dir, "kexec-boot"), "--load")
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "TMPDIR="+bin)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.HasSuffix(string(out), "kexec: --command-line=rootfs=http://srv/x.squashfs init=/i\n") {
		t.Errorf("%v, kexec got\n%s", err, out)
	}
	if text, err := os.ReadFile(loaded); err != nil || string(text) != "initrd\x00\x00" {
		t.Errorf("%v, the initrd is %q", err, text)
	}
}

// What a folder lacks is told; nothing is written.
func TestWriteScriptsRefuses(t *testing.T) {
	dir := bootFolder(t, nil)
	if err := os.Remove(filepath.Join(dir, "bzImage")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := WriteScripts(t.Context(), dir, false); err == nil || !strings.Contains(err.Error(), "bzImage") {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "boot.ipxe")); err == nil {
		t.Error("a script is there")
	}
}

// netstage serve writes its own script where that of WriteScripts lies, and
// serves an operator's.
func TestServeBesideScripts(t *testing.T) {
	dir := bootFolder(t, nil)
	if _, _, err := WriteScripts(t.Context(), dir, false); err != nil {
		t.Fatal(err)
	}
	ask := func() string {
		s, err := New(Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		answer := httptest.NewRecorder()
		s.ServeHTTP(answer, httptest.NewRequest("GET", "http://srv:8080/boot.ipxe", nil))
		return answer.Body.String()
	}
	if script := ask(); !strings.Contains(script, "rootfs.base=http://srv:8080/") {
		t.Errorf("served:\n%s", script)
	}
	if err := os.WriteFile(filepath.Join(dir, "boot.ipxe"), []byte("#!ipxe\nmine\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if script := ask(); script != "#!ipxe\nmine\n" {
		t.Errorf("served:\n%s", script)
	}
}

// With signatures beside the files iPXE starts nothing else; without one no
// script is written that could not boot.
func TestImgverify(t *testing.T) {
	dir := bootFolder(t, map[string]string{"bzImage.sig": "s"})
	if _, _, err := WriteScripts(t.Context(), dir, true); err == nil || !strings.Contains(err.Error(), "openssl cms -sign -binary -noattr -in initrd.zst") {
		t.Errorf("an initrd without a signature: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "boot.ipxe")); err == nil {
		t.Error("a script was written all the same")
	}
	dir = bootFolder(t, map[string]string{"bzImage.sig": "s", "initrd.zst.sig": "s"})
	if _, _, err := WriteScripts(t.Context(), dir, true); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "boot.ipxe"))
	if err != nil {
		t.Fatal(err)
	}
	order := []string{"\nimgtrust --permanent\n", "\nkernel bzImage ", "\nimgverify bzImage bzImage.sig || goto failed\n", "\ninitrd initrd.zst ",
		"\nimgverify initrd.zst initrd.zst.sig || goto failed\n", "\nboot "}
	at := 0
	for _, line := range order {
		i := strings.Index(string(text[at:]), line)
		if i < 0 {
			t.Fatalf("no %q after byte %d of\n%s", line, at, text)
		}
		at += i
	}
}
