package qemutests

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"netstage/cmd/netstage/image"
	"netstage/cmd/netstage/vm"
	"netstage/qemu-tests/system"
)

// blob is a large file that does not compress.
type blob struct {
	sum      string
	from, to int64 // bytes of the image
}

// debianStreamed is the Debian with a large file, packed with its tree.
func debianStreamed(t testing.TB, script string) (path string, b blob) {
	t.Helper()
	root := setupDir(t, "debian")
	dir := t.TempDir()
	if err := system.WriteDebian(root, dir, "squashfs"); err != nil {
		t.Fatal(err)
	}
	content := make([]byte, 64<<20)
	if _, err := rand.Read(content); err != nil {
		t.Fatal(err)
	}
	tree := one(t, dir+"/*-debian")
	for name, text := range map[string]string{"etc/systemd/system/tell.service": system.TellUnit, "etc/tell": script, "etc/systemd/system/netstage-image.service": documentedUnit(t), "blob": string(content)} {
		os.Remove(filepath.Join(tree, name))
		if err := os.WriteFile(filepath.Join(tree, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	report, err := image.Build(context.Background(), image.Options{
		Source: dir, Output: filepath.Join(t.TempDir(), "image.squashfs"), Compression: image.Compression{Algorithm: "zstd", Level: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	packed, err := os.ReadFile(report.Path)
	if err != nil {
		t.Fatal(err)
	}
	at := int64(bytes.Index(packed, content[:4096]))
	if at < 0 {
		t.Fatal("the image does not have the file as it is")
	}
	return report.Path, blob{fmt.Sprintf("%x", sha256.Sum256(content)), at, at + int64(len(content))}
}

// heldBack is a server of which the large file comes as if it never would, until
// it is released; the rest comes at once. It may be away.
type heldBack struct {
	blob           blob
	released, away atomic.Bool
}

func (s *heldBack) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.away.Load() {
			gone(w, r, h)
			return
		}
		if !strings.HasSuffix(r.URL.Path, ".squashfs") {
			h.ServeHTTP(w, r)
			return
		}
		part := &heldPart{ResponseWriter: w, of: s}
		fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &part.at) // else all is sent
		h.ServeHTTP(part, r)
	})
}

// heldPart is an answer with the bytes of an image from some place on.
type heldPart struct {
	http.ResponseWriter
	of *heldBack
	at int64
}

func (p *heldPart) Write(b []byte) (n int, err error) {
	const piece = 16 << 10
	for len(b) > 0 && err == nil {
		part := b[:min(len(b), piece)]
		if end := p.at + int64(len(part)); end > p.of.blob.from && p.at < p.of.blob.to && !p.of.released.Load() {
			time.Sleep(100 * time.Millisecond)
		}
		var m int
		m, err = p.ResponseWriter.Write(part)
		n, p.at, b = n+m, p.at+int64(m), b[m:]
	}
	return n, err
}

// documentedUnit is the unit that docs/streaming.md has one copy.
func documentedUnit(t testing.TB) string {
	t.Helper()
	unit, err := system.DocumentedUnit("../docs/streaming.md", "netstage-image.service")
	if err != nil {
		t.Fatal(err)
	}
	return unit
}

// tellSystemd waits for multi-user, or where the unit is there, which has the
// network wait, for the end of the stream.
const tellSystemd = ofStream + `
if grep -q netstage-image /proc/cmdline; then
	while grep -q '"streaming"' /run/netstage/stream.json; do
		echo "unit: $(systemctl is-active netstage-image) $(systemctl show -P StatusText netstage-image), networkd $(systemctl is-active systemd-networkd)"
		sleep 3
	done
fi
systemctl is-system-running --wait
echo "multi-user after $(cut -d' ' -f1 /proc/uptime) s, stream: $(cat /run/netstage/stream.json)"
systemctl list-units --failed --plain --no-legend | sed "s/^/failed: /"
echo "in the end: $(systemctl is-active netstage-image), networkd $(systemctl is-active systemd-networkd)"
` + streamTell + `
echo "whole after $(cut -d' ' -f1 /proc/uptime) s"
grep -o '"state": "complete"' /run/netstage/boot.json | sed 's/^/report: /'
head -2 /run/netstage/image.hot | sed 's/^/hot: /'
echo "blob: $(cat /nix/store/*-debian/blob | sha256sum)"
systemctl poweroff`

// A real systemd is up long before its image has come. With the unit of the
// documents its network waits for the image.
func TestQEMUStreamSystemd(t *testing.T) {
	t.Parallel()
	path, blob := debianStreamed(t, tellSystemd)
	const wants = " systemd.wants=netstage-image.service systemd.wants=systemd-networkd.service"
	for name, test := range map[string]struct {
		kernel, init, cmdline string
		until                 string // that is shown the rest of the image does not come
		want                  []string
	}{
		"6.1, classic, with the unit": {plainModules, system.DebianClassic, wants, "unit: activating",
			[]string{"unit: activating", "MiB, networkd inactive", "in the end: active, networkd active", "report: "}},
		"6.12, prepare-root": {xzModules, system.DebianPrepareRoot, "", "multi-user after ",
			[]string{`s, stream: {"state":"streaming"`, "in the end: inactive, networkd inactive", "report: \"state\": \"complete\"", "hot: netstage-hot 1"}},
	} {
		if !wholeMatrix && test.kernel != xzModules {
			continue
		}
		t.Run(name, func(t *testing.T) {
			c := guestWith(t, test.kernel, []string{"virtio_net", "dm_verity", "nbd"})
			c.Direct, c.Init, c.Image, c.Append = true, test.init, path, "rootfs.stream"+test.cmdline
			server := heldBack{blob: blob}
			c.Wrap = server.wrap
			m := start(t, c)
			m.expect(test.until)
			server.released.Store(true)
			m.end(vm.PowerOff, append(append(test.want, "!failed: ", "blob: "+blob.sum), afterStream...)...)
			up, whole := secondsAfter(m.Console(), "multi-user after "), secondsAfter(m.Console(), "whole after ")
			t.Logf("multi-user after %.1f s, whole after %.1f s", up, whole)
			if up == 0 || whole == 0 || test.cmdline == "" && up > whole {
				t.Errorf("multi-user after %.1f s, whole after %.1f s", up, whole)
			}
		})
	}
}

func secondsAfter(console, words string) float64 {
	_, rest, _ := strings.Cut(console, words)
	number, _, _ := strings.Cut(rest, " ")
	n, _ := strconv.ParseFloat(number, 64)
	return n
}

// Half-way through the stream the machine reboots when it is told to, also
// while the server is away: what a shutdown takes is there already. What asks
// processes to end, or systemd for another target, is nothing to the stream.
func TestQEMUStreamReboot(t *testing.T) {
	t.Parallel()
	path, blob := debianStreamed(t, ofStream+`
systemctl is-system-running --wait
while [ -n "$(part read)" ]; do sleep 1; done
kill -TERM $(part hold) $(part work)
systemctl isolate multi-user.target
sleep 3
[ -p /run/netstage/up ] && [ -n "$(part hold)" ] && [ -n "$(part work)" ] && echo "the stream goes on: $(cat /run/netstage/stream.json)"
echo "multi-user: rebooting"
read go < /dev/ttyS0
systemctl reboot`)
	for name, test := range map[string]struct{ cmdline, want string }{
		"whole":      {"rootfs.stream", `the stream goes on: {"state":"streaming"`},
		"on demand":  {"rootfs.stream=demand", `the stream goes on: {"state":"demand"`},
		"read again": {"rootfs.stream=demand rootfs.stream.keep=16M", `the stream goes on: {"state":"demand"`},
	} {
		if !wholeMatrix && name != "whole" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			c := guestWith(t, xzModules, []string{"virtio_net", "dm_verity", "nbd"})
			c.Direct, c.Init, c.Image, c.Append = true, system.DebianClassic, path, test.cmdline
			server := heldBack{blob: blob}
			c.Wrap = server.wrap
			m := start(t, c)
			m.expect("multi-user: rebooting")
			server.away.Store(true)
			m.send("\n")
			told := time.Now()
			m.end(vm.Reset, "!stream: the image is whole", "!started again", test.want)
			t.Logf("reboot took %.1f s", time.Since(told).Seconds())
		})
	}
}
