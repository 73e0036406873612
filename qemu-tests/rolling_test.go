package qemutests

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"netstage/cmd/netstage/image"
	"netstage/cmd/netstage/netboot"
	"netstage/cmd/netstage/vm"
	"netstage/qemu-tests/system"
)

// updates are what a system without curl and util-linux makes of the recipe: it
// finds the folder beside its own image.
const updates = `
%s/busybox mkdir -p /bin /run /tmp
%[1]s/busybox --install -s /bin
export PATH=/bin
cp -a %[2]s/programs/. /
chmod +x /bin/netstage /bin/kexec /lib64/*
cat >/bin/findmnt <<'END'
#!/bin/sh
awk '$2 == "/nix/.ro-store" { print $1 }' /proc/mounts
END
chmod +x /bin/findmnt
from=$(sed 's/.*rootfs.base=\([^ ]*\)\/ .*/\1/' /proc/cmdline)/next
set -ex
grep MemAvailable /proc/meminfo
%[3]s`

// rollingImage packs a system with 12 MB that never change, and 1 MB that does.
func rollingImage(t *testing.T, output string, changing byte, init string, more system.Files) image.Report {
	t.Helper()
	random := func(seed byte, size int) string {
		b := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
		return string(b)
	}
	toplevel := system.Files{"init": init, "nixos-version": "25.05", "same": random(1, 12<<20), "changing": random(changing, 1<<20)}
	for name, text := range more {
		toplevel[name] = text
	}
	files, err := system.Store(toplevel)
	if err != nil {
		t.Fatal(err)
	}
	tree := filepath.Join(t.TempDir(), "tree")
	if err := files.Write(tree); err != nil {
		t.Fatal(err)
	}
	report, err := image.Build(context.Background(), image.Options{
		Source: tree, Format: image.Erofs, Compression: image.Compression{Algorithm: "lz4"}, Series: "web", Output: output,
	})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// programs are the tool and kexec, with what that is linked to.
func programs(t *testing.T) system.Files {
	t.Helper()
	const kexec = "/usr/sbin/kexec"
	libraries, err := exec.Command("ldd", kexec).Output()
	if err != nil {
		t.Skipf("ldd %s: %v: run qemu-tests/setup/deps.sh", kexec, err)
	}
	from := map[string]string{"programs/bin/kexec": kexec, "programs/bin/netstage": build(t, "netstage/cmd/netstage")}
	for _, found := range regexp.MustCompile(`(/\S+) \(0x`).FindAllStringSubmatch(string(libraries), -1) {
		from["programs"+found[1]] = found[1]
	}
	files := system.Files{}
	for to, name := range from {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[to] = string(content)
	}
	return files
}

// The recipe of docs/cache.md, as it is written: a system that runs from its
// image fetches what changed in the next one, and starts that by kexec. It is
// booted by make recipes.
func TestQEMURollingUpdate(t *testing.T) {
	recipe := recipesOf(t, "../docs/cache.md")["kexec"]
	if recipe == "" {
		t.Fatal("docs/cache.md has no recipe kexec")
	}
	if booted := os.Getenv("NETSTAGE_RECIPES"); booted != "all" && booted != "kexec" {
		return
	}
	more := programs(t)
	dir := t.TempDir()
	running := rollingImage(t, filepath.Join(dir, "web.erofs"), 2, system.Script(fmt.Sprintf(updates, system.Busybox+"/bin", system.Toplevel, recipe)), more)

	next := t.TempDir()
	c := guestPacked(t, xzModules)
	install(t, c.Kernel, next+"/bzImage")
	install(t, c.Initrds[0], next+"/initrd")
	report := rollingImage(t, filepath.Join(next, "web.erofs"), 3, system.Script("echo 'the next system'\n"+system.Tell+system.PowerOff), more)
	writeFile(t, next+"/cmdline", "init="+system.Init+" console=ttyS0 panic=-1 loglevel=6\n")
	if _, _, err := netboot.WriteScripts(t.Context(), next, false); err != nil {
		t.Fatal(err)
	}

	var sent atomic.Int64
	c.Direct, c.Image, c.Init, c.Memory = true, running.Path, system.Init, 1536
	c.Append = "boot.network=keep boot.fail_timeout=1"
	c.Wrap = func(h http.Handler) http.Handler {
		files := http.StripPrefix("/next/", http.FileServer(http.Dir(next)))
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case !strings.HasPrefix(r.URL.Path, "/next/"):
				h.ServeHTTP(w, r)
			case strings.HasSuffix(r.URL.Path, "/web.erofs"):
				files.ServeHTTP(&countingWriter{w, &sent}, r)
			default:
				files.ServeHTTP(w, r)
			}
		})
	}
	start(t, c).end(vm.PowerOff, "MiB are in /dev/loop0", "kexec_core: Starting new kernel", "/nix-store.squashfs of the initrd", "the next system", "mount: /nix/.ro-store erofs", "stage 2 done")
	changed := int64(1 << 20)
	if sent := sent.Load(); sent < changed || sent > changed*13/10 {
		t.Errorf("%d bytes were sent of an image of %d where %d changed", sent, report.Size, changed)
	}
	t.Logf("%d of %d bytes were sent where %d changed", sent.Load(), report.Size, changed)
}
