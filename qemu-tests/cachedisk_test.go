package qemutests

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"netstage/cmd/netstage/image"
	"netstage/cmd/netstage/initrd"
	"netstage/cmd/netstage/vm"
	"netstage/qemu-tests/system"
)

// keeps is a toplevel that keeps its image on the disk when it is up: with a
// payload that never changes, and one that does.
func keeps(t *testing.T, dir string, changing byte) image.Report {
	t.Helper()
	tool, err := os.ReadFile(build(t, "../cmd/netstage"))
	if err != nil {
		t.Fatal(err)
	}
	random := func(seed byte, size int) string {
		b := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
		return string(b)
	}
	files, err := system.Store(system.Files{
		"init":          system.Script("cat " + system.Toplevel + "/netstage >/netstage && chmod +x /netstage && mkdir -p /tmp\n/netstage keep 2>&1 | sed 's/^/keep: /'\n" + listLeft + system.Tell + system.PowerOff),
		"netstage":      string(tool),
		"nixos-version": "25.05", "same": random(1, 12<<20), "changing": random(changing, 1<<20),
	})
	if err != nil {
		t.Fatal(err)
	}
	tree := filepath.Join(t.TempDir(), "tree")
	if err := files.Write(tree); err != nil {
		t.Fatal(err)
	}
	report, err := image.Build(context.Background(), image.Options{
		Source: tree, Format: image.Erofs, Compression: image.Compression{Algorithm: "lz4"}, Series: "web", Output: filepath.Join(dir, "web.erofs"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// counted counts what is sent of the image itself, or has neither it nor its
// tree.
type counted struct {
	sent atomic.Int64
	gone atomic.Bool
}

func (c *counted) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.Contains(r.URL.Path, ".erofs") && c.gone.Load():
			http.NotFound(w, r)
		case strings.HasSuffix(r.URL.Path, ".erofs"):
			next.ServeHTTP(&countingWriter{w, &c.sent}, r)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

type countingWriter struct {
	http.ResponseWriter
	sent *atomic.Int64
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.sent.Add(int64(n))
	return n, err
}

// A machine with a small disk: the first boot streams all and keeps it when it
// is whole. In the second one the disk stops to answer; the boot goes on
// without it, and the power is cut while the image is written to it. The third
// one fetches what changed and the block that the disk lost a bit of, the
// fourth one streams what changed again, and the fifth one boots that image
// again when the server has none, since the policy of its initrd allows it.
func TestQEMUCacheDisk(t *testing.T) {
	t.Parallel()
	disk := filepath.Join(t.TempDir(), "disk")
	writeFile(t, disk, "")
	run(t, "truncate", "-s", "160M", disk)
	run(t, "mkfs.ext4", "-q", "-L", "cache", disk)
	policy := filepath.Join(t.TempDir(), "policy.json")
	writeFile(t, policy, `{"version": 1, "offline": "last-good", "offline_days": 3}`)

	var server counted
	machine := func(image, cmdline string, files ...initrd.File) running {
		server.sent.Store(0)
		c := guestOf(t, xzModules, initrd.Options{Modules: []string{"virtio_net", "erofs", "dm_verity", "nbd"}, Disks: true, FileSystems: []string{"ext4"}, Files: files})
		c.Direct, c.Image, c.Init, c.Wrap = true, image, system.Init, server.wrap
		c.Append = "rootfs.cache.disk=LABEL=cache boot.fail_timeout=1 " + cmdline
		c.Drives = []string{"if=none,id=kept,format=raw,cache=writeback,file=" + disk}
		c.ExtraArgs = []string{"-device", "virtio-blk-pci,drive=kept,id=keptdev"}
		return start(t, c)
	}
	first := keeps(t, t.TempDir(), 2)
	streamed := machine(first.Path, "rootfs.stream")
	streamed.end(vm.PowerOff, "stage 2 done", "stream: the image is whole", "keep: kept ", "/run/netstage/keep.json")
	checkLeft(t, streamed.Console())
	if sent := server.sent.Load(); sent < first.Size {
		t.Errorf("an empty disk: %d of %d bytes were sent", sent, first.Size)
	}
	flip(t, disk, first.Path)

	lost := keeps(t, t.TempDir(), 9)
	cutOff(machine(lost.Path, ""))
	if sent := server.sent.Load(); sent < lost.Size {
		t.Errorf("a disk that hangs: %d of %d bytes were sent", sent, lost.Size)
	}

	var last image.Report
	for n, stream := range []string{"", "rootfs.stream rootfs.verity.mount"} {
		last = keeps(t, t.TempDir(), byte(3+n))
		want := []string{"stage 2 done", "keep: kept ", "MiB are in", "on LABEL=cache"}
		if stream != "" {
			want = append(want, "stream: the image is whole")
		}
		machine(last.Path, stream).end(vm.PowerOff, want...)
		changed := int64(1 << 20)
		if sent := server.sent.Load(); sent < changed || sent > changed*13/10 {
			t.Errorf("%q: %d bytes were sent of an image where %d changed", stream, sent, changed)
		}
		t.Logf("%q: %d of %d bytes were sent where %d changed", stream, server.sent.Load(), last.Size, changed)
	}

	server.gone.Store(true)
	machine(last.Path, "", initrd.File{Source: policy, Target: "/etc/netstage/policy.json"}).end(vm.PowerOff,
		"stage 2 done", "image: no server brings one", "which a server last had 0.0 days ago", "keep: nothing is to be kept")
	machine(last.Path, "").end(vm.Reset, "boot failed: http-404", "!stage 2: pid 1")
}

// cutOff boots with a disk that hangs before it is mounted, which costs what
// the document says, and ends the machine in the middle of what it writes
// there.
func cutOff(m running) {
	m.t.Helper()
	throttle := func(bytes int) {
		m.t.Helper()
		_, err := m.QMP(m.ctx, "block_set_io_throttle", map[string]any{"id": "/machine/peripheral/keptdev/virtio-backend",
			"bps": bytes, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0})
		if err != nil {
			m.t.Fatal(err)
		}
	}
	m.expect("network (5/8)")
	throttle(1)
	m.expect("image: the disk with earlier images is not used: it did not answer within 15s")
	m.expect("handover (8/8)")
	throttle(2 << 20)
	for written := int64(0); written < 6<<20; {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-m.ctx.Done():
			m.t.Fatal("nothing is written to the disk")
		}
		text, err := m.QMP(m.ctx, "query-blockstats", nil)
		if err != nil {
			m.t.Fatal(err)
		}
		var all []struct {
			Stats struct {
				Written int64 `json:"wr_bytes"`
			}
		}
		if err := json.Unmarshal(text, &all); err != nil {
			m.t.Fatal(err)
		}
		written = 0
		for _, s := range all {
			written += s.Stats.Written
		}
	}
	if strings.Contains(m.Console(), "keep: kept ") {
		m.t.Fatal("the image was kept before the power was cut")
	}
	m.Close()
}

// flip inverts a bit of the image on the disk, in a file that does not
// compress.
func flip(t *testing.T, disk, image string) {
	t.Helper()
	content, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	all, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	payload := make([]byte, 12<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(payload)
	at := bytes.Index(all, payload[1<<20:][:64])
	if at < 0 || !bytes.Contains(content, payload[1<<20:][:64]) {
		t.Fatal("the disk does not hold the image")
	}
	if _, err := raw.WriteAt([]byte{payload[1<<20] ^ 1}, int64(at)); err != nil {
		t.Fatal(err)
	}
}
