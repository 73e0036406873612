package netboot

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var digest = strings.Repeat("0a", 32)

// kernelLine is the line of a script that loads the kernel.
func kernelLine(script string) string {
	for _, line := range strings.Split(script, "\n") {
		if strings.HasPrefix(line, "kernel ") {
			return line
		}
	}
	return script
}

func TestScriptFromFolder(t *testing.T) {
	url, _ := serve(t, Options{Dir: folder(t, map[string]string{
		"bzImage": "", "vmlinuz-6.1": "", "initrd.zst": "", "initrd.zst.sha256": "", "nix-store.squashfs": "", "other.squashfs": "",
		"nix-store.squashfs.sha256": digest + "  nix-store.squashfs\n",
		"cmdline":                   "# the demo\ninit=/nix/store/x/init\nquiet\n", "README": "", ".initrd": "",
	})})
	response, script := get(t, url+"/boot.ipxe")
	if response.Header.Get("Content-Type") != "text/plain; charset=utf-8" || response.ContentLength != int64(len(script)) {
		t.Errorf("%v", response.Header)
	}
	want := "kernel /bzImage initrd=initrd.zst rootfs=nix-store.squashfs rootfs.sha256=" + digest +
		" rootfs.base=" + url + "/ BOOTIF=01-${netX/mac:hexhyp} init=/nix/store/x/init quiet || goto failed"
	if got := kernelLine(script); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if strings.Count(script, "\ninitrd ") != 1 || !strings.Contains(script, "\ninitrd /initrd.zst ||") {
		t.Errorf("initrds:\n%s", script)
	}
}

// A verity tree vouches instead of a digest, where the whole of it is there.
func TestRootHashInScript(t *testing.T) {
	root := strings.Repeat("0b", 32)
	for name, test := range map[string]struct{ cmdline, tree, want, not string }{
		"tree":         {"quiet", "nix-store.squashfs.verity", " rootfs.roothash=" + root + " ", "sha256"},
		"no tree":      {"quiet", "README", " rootfs.sha256=" + digest + " ", "roothash"},
		"own digest":   {"rootfs.sha256=" + root, "nix-store.squashfs.verity", "rootfs.sha256=" + root, "roothash"},
		"own manifest": {"rootfs.manifest=m", "nix-store.squashfs.verity", "rootfs.base=", "rootfs="},
	} {
		url, _ := serve(t, Options{Dir: folder(t, map[string]string{
			"bzImage": "", "initrd": "", "nix-store.squashfs": "", "nix-store.squashfs.sha256": digest,
			"nix-store.squashfs.roothash": root, test.tree: "", "cmdline": test.cmdline,
		})})
		_, script := get(t, url+"/boot.ipxe")
		if line := kernelLine(script); !strings.Contains(line, test.want) || strings.Contains(line, test.not) {
			t.Errorf("%s: %s", name, line)
		}
	}
}

func TestMachinesHaveFilesOfTheirOwn(t *testing.T) {
	dir := folder(t, map[string]string{
		"bzImage": "", "initrd": "", "a.squashfs": "", "cmdline": "all",
		"52:54:00:AB:cd:ef/b.squashfs": "own image", "52:54:00:AB:cd:ef/b.squashfs.sha256": digest + "\n",
		"52-54-00-00-00-01/cmdline": "one",
	})
	url, _ := serve(t, Options{Dir: dir})
	if _, script := get(t, url+"/boot.ipxe"); !strings.Contains(script, "\nchain /boot.ipxe?mac=${netX/mac:hexhyp} ||") {
		t.Errorf("first script:\n%s", script)
	}
	for mac, want := range map[string][]string{
		"52-54-00-ab-cd-ef": {"rootfs=b.squashfs rootfs.sha256=" + digest, "rootfs.base=" + url + "/52-54-00-ab-cd-ef/", "kernel /bzImage ", " all "},
		"52:54:00:AB:CD:EF": {"rootfs=b.squashfs"},
		"52-54-00-00-00-01": {"rootfs=a.squashfs", "rootfs.base=" + url + "/ ", " one "},
		"52-54-00-00-00-02": {"rootfs=a.squashfs", " all "},
		"nonsense":          {"rootfs=a.squashfs", " all "},
	} {
		_, script := get(t, url+"/boot.ipxe?mac="+mac)
		for _, part := range want {
			if !strings.Contains(kernelLine(script), part) {
				t.Errorf("%s: %q is missing in %s", mac, part, kernelLine(script))
			}
		}
	}
	for _, name := range []string{"52-54-00-ab-cd-ef", "52:54:00:ab:cd:ef", "52-54-00-AB-CD-EF"} {
		if response, body := get(t, url+"/"+name+"/b.squashfs"); body != "own image" {
			t.Errorf("%s: %s", name, response.Status)
		}
	}
}

func TestScriptOfTheOperatorWins(t *testing.T) {
	url, _ := serve(t, Options{Dir: folder(t, map[string]string{"boot.ipxe": "#!ipxe\nshell\n", "bzImage": "", "initrd": ""})})
	if _, script := get(t, url+"/boot.ipxe"); script != "#!ipxe\nshell\n" {
		t.Errorf("%s", script)
	}
}

func TestProblemsAreShownOnTheMachine(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string]string
		want  string
	}{
		"no kernel":     {map[string]string{"initrd": ""}, "a kernel (bzImage or vmlinuz) is missing"},
		"no initrd":     {map[string]string{"bzImage": ""}, "an initrd (initrd*) is missing"},
		"two kernels":   {map[string]string{"vmlinuz-1": "", "vmlinuz-2": "", "initrd": ""}, "which kernel? there are vmlinuz-1, vmlinuz-2"},
		"two images":    {map[string]string{"bzImage": "", "initrd": "", "a.squashfs": "", "b.erofs": ""}, "which image? there are a.squashfs, b.erofs"},
		"bad digest":    {map[string]string{"bzImage": "", "initrd": "", "a.squashfs": "", "a.squashfs.sha256": "zz"}, "a.squashfs.sha256 does not begin with"},
		"odd name":      {map[string]string{"bzImage": "", "initrd": "", "a b.squashfs": ""}, "characters that a boot script can't hold"},
		"odd parameter": {map[string]string{"bzImage": "", "initrd": "", "cmdline": "a || b"}, "iPXE can't pass"},
	} {
		url, log := serve(t, Options{Dir: folder(t, test.files)})
		response, script := get(t, url+"/boot.ipxe")
		if response.StatusCode != http.StatusOK || !strings.HasPrefix(script, "#!ipxe\n") || !strings.HasSuffix(script, "\nreboot\n") {
			t.Errorf("%s: %s\n%s", name, response.Status, script)
		}
		if !strings.Contains(script, "echo netstage: ") || !strings.Contains(script, test.want) {
			t.Errorf("%s: %q is missing in\n%s", name, test.want, script)
		}
		if !strings.Contains(log.String(), "no boot for 127.0.0.1") {
			t.Errorf("%s: not logged:\n%s", name, log)
		}
	}
}

func TestLinksOutOfTheFolderAreNamed(t *testing.T) {
	dir := folder(t, map[string]string{"initrd": ""})
	if err := os.Symlink("/nix/store/x/bzImage", filepath.Join(dir, "bzImage")); err != nil {
		t.Fatal(err)
	}
	url, _ := serve(t, Options{Dir: dir})
	if _, script := get(t, url+"/boot.ipxe"); !strings.Contains(script, "not usable: bzImage: path escapes") {
		t.Errorf("%s", script)
	}
}

func TestImagesAreNotAmbiguousWithRootfs(t *testing.T) {
	url, _ := serve(t, Options{Dir: folder(t, map[string]string{"bzImage": "", "initrd": "", "a.squashfs": "", "b.squashfs": "",
		"cmdline": "rootfs=b.squashfs"})})
	_, script := get(t, url+"/boot.ipxe")
	if got := kernelLine(script); strings.Count(got, "rootfs=") != 1 || !strings.Contains(got, "rootfs.base="+url+"/ ") {
		t.Errorf("%s", got)
	}
}

func TestGivenBootAndFiles(t *testing.T) {
	file := filepath.Join(folder(t, map[string]string{"x": "kernel"}), "x")
	url, _ := serve(t, Options{Files: map[string]string{"vmlinuz": file},
		Boot: &Boot{Kernel: "vmlinuz", Initrds: []string{"initrd"}, Image: "i.squashfs"}})
	if _, body := get(t, url+"/vmlinuz"); body != "kernel" {
		t.Errorf("%q", body)
	}
	if _, script := get(t, url+"/boot.ipxe"); !strings.Contains(script, "kernel /vmlinuz initrd=initrd rootfs=i.squashfs rootfs.base="+url+"/ ") {
		t.Errorf("%s", script)
	}
}

func TestHostHeaderIsNotBelieved(t *testing.T) {
	url, _ := serve(t, Options{Dir: folder(t, map[string]string{"bzImage": "", "initrd": "", "a.squashfs": ""})})
	request, err := http.NewRequest(http.MethodGet, url+"/boot.ipxe", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "a${x}"
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	script := make([]byte, 4096)
	n, _ := response.Body.Read(script)
	if strings.Contains(string(script[:n]), "${x}") {
		t.Errorf("%s", script[:n])
	}
}

func FuzzNormalMAC(f *testing.F) {
	f.Add("52:54:00:AB:cd:ef")
	f.Add("52-54-00-12-34-56")
	f.Add("52-54-00-12-34-5")
	f.Fuzz(func(t *testing.T, s string) {
		mac, ok := normalMAC(s)
		if !ok {
			return
		}
		if again, ok := normalMAC(mac); !ok || again != mac || !plainName(mac) {
			t.Errorf("%q gives %q, then %q", s, mac, again)
		}
	})
}
