package kmod

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"golang.org/x/sys/unix"

	"netstage/stage1/fault"
	"netstage/stage1/modindex"
)

const netTree = `kernel/net/core/failover.ko:
kernel/drivers/net/net_failover.ko: kernel/net/core/failover.ko
kernel/drivers/net/virtio_net.ko: kernel/drivers/net/net_failover.ko kernel/net/core/failover.ko
kernel/fs/ext4.ko:
kernel/crypto/crc32c_generic.ko:
kernel/lib/after.ko: kernel/fs/ext4.ko
kernel/a.ko:
kernel/b.ko: kernel/a.ko
`

func netFiles() map[string]string {
	return map[string]string{
		"modules.alias":   "alias virtio:d00000001v* virtio_net\nalias crypto-crc32c crc32c_generic\nalias virtio:d00000009v* not_packed\n",
		"modules.softdep": "softdep ext4 pre: crypto-crc32c absent post: after\nsoftdep a pre: b\n",
		"modules.builtin": "kernel/fs/tmpfs.ko\n",
	}
}

// TestLoadOrder loads everything from many goroutines at once into a kernel
// that insists on dependencies.
func TestLoadOrder(t *testing.T) {
	k := &fakeKernel{needs: map[string][]string{
		"net_failover": {"failover"}, "virtio_net": {"net_failover", "failover"},
		"ext4": {"crc32c_generic"}, "after": {"ext4"}, "b": {"a"},
	}}
	l, _ := newTestLoader(t, moduleTree(t, netTree, netFiles()), k)
	var running sync.WaitGroup
	for range 8 {
		running.Go(func() {
			if err := l.Load(t.Context(), "virtio:d00000001v00001AF4", "ext4", "net-failover", "tmpfs", "a", "b"); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	want := []string{"a", "after", "b", "crc32c_generic", "ext4", "failover", "net_failover", "virtio_net"}
	if diff := cmp.Diff(want, k.names()); diff != "" {
		t.Fatal(diff)
	}
}

func TestLoadFailure(t *testing.T) {
	k := &fakeKernel{fail: map[string]unix.Errno{"failover": unix.ENOEXEC}}
	l, _ := newTestLoader(t, moduleTree(t, netTree, netFiles()), k)
	err := l.Load(t.Context(), "virtio_net", "nonsense", "ext4")
	if !errors.Is(err, modindex.ErrNotFound) || !errors.Is(err, unix.ENOEXEC) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"module virtio_net needs", "kernel/net/core/failover.ko", "exec format error", "another kernel", "no module nonsense"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
	if class := fault.ClassOf(err); class != fault.NoModule {
		t.Errorf("class %s of %v", class, err)
	}
	if err := l.Load(t.Context(), "virtio_net"); fault.ClassOf(err) != fault.Module {
		t.Errorf("class %s of %v", fault.ClassOf(err), err)
	}
	if slices.Contains(k.names(), "virtio_net") || !slices.Contains(k.names(), "ext4") {
		t.Errorf("loaded %v", k.names())
	}
	delete(k.fail, "failover") // the retry of the failure screen
	if err := l.Load(t.Context(), "virtio_net"); err != nil {
		t.Errorf("second try: %v", err)
	}
}

func TestSoftFailureIsNone(t *testing.T) {
	k := &fakeKernel{fail: map[string]unix.Errno{"crc32c_generic": unix.ENODEV}}
	l, log := newTestLoader(t, moduleTree(t, netTree, netFiles()), k)
	if err := l.Load(t.Context(), "ext4"); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "crc32c_generic") {
		t.Errorf("not logged:\n%s", log)
	}
}

func TestParamsAndMasks(t *testing.T) {
	k := &fakeKernel{}
	l, _ := newTestLoader(t, moduleTree(t, netTree, netFiles()), k)
	c := &modindex.Config{}
	if err := c.Read(strings.NewReader("options virtio-net csum=0\ninstall failover /bin/true\ninstall ext4 /bin/false\nblacklist crc32c-generic\nalias myfs a\n")); err != nil {
		t.Fatal(err)
	}
	c.KernelParam("virtio_net.gso", "a b", true)
	if c.KernelParam("quiet", "", false) || !c.KernelParam("modprobe.blacklist", "x,after", true) {
		t.Error("KernelParam")
	}
	l.ix.Use(c)
	if err := l.Load(t.Context(), "virtio_net", "crypto-crc32c", "myfs"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b", "net_failover", "virtio_net"}, k.names()); diff != "" {
		t.Error(diff)
	}
	if got := k.params["virtio_net"]; got != `csum=0 gso="a b"` {
		t.Errorf("params %q", got)
	}
	if err := l.Load(t.Context(), "ext4"); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("install /bin/false: %v", err)
	}
	if err := l.Load(t.Context(), "crc32c_generic"); err != nil || !slices.Contains(k.names(), "crc32c_generic") {
		t.Errorf("a blacklisted module by its own name: %v, %v", err, k.names())
	}
}

func TestCompressed(t *testing.T) {
	var x, z, g bytes.Buffer
	xw, _ := xz.NewWriter(&x)
	xw.Write([]byte("one"))
	xw.Close()
	zw, _ := zstd.NewWriter(&z)
	zw.Write([]byte("two"))
	zw.Close()
	gw := gzip.NewWriter(&g)
	gw.Write([]byte("three"))
	gw.Close()
	dep := "one.ko.xz:\ntwo.ko.zst:\nthree.ko.gz:\nbad.ko.xz:\n"
	files := map[string]string{"one.ko.xz": x.String(), "two.ko.zst": z.String(), "three.ko.gz": g.String()}

	t.Run("kernel cannot", func(t *testing.T) {
		k := &fakeKernel{}
		l, _ := newTestLoader(t, moduleTree(t, dep, files), k)
		if err := l.Load(t.Context(), "one", "two", "three"); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"one", "three", "two"}, k.names()); diff != "" {
			t.Error(diff)
		}
		err := l.Load(t.Context(), "bad")
		var le *LoadError
		if !errors.As(err, &le) || le.Op != "decompress" {
			t.Errorf("damaged file: %v", err)
		}
	})
	t.Run("kernel can", func(t *testing.T) {
		k := &fakeKernel{}
		l, _ := newTestLoader(t, moduleTree(t, dep, files), k)
		l.in.sysfs = writeTree(t, map[string]string{"module/compression": "xz\n"})
		if err := l.Load(t.Context(), "one", "two"); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]int{"compressed": initCompressed, "two": 0}, k.flags); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("kernel says it can and refuses", func(t *testing.T) {
		k := &fakeKernel{fail: map[string]unix.Errno{"compressed": unix.EINVAL}}
		l, _ := newTestLoader(t, moduleTree(t, dep, files), k)
		l.in.sysfs = writeTree(t, map[string]string{"module/compression": "xz\n"})
		if err := l.Load(t.Context(), "one"); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAlreadyLoaded(t *testing.T) {
	k := &fakeKernel{loaded: []string{"b"}, fail: map[string]unix.Errno{"a": unix.EIO}}
	l, _ := newTestLoader(t, moduleTree(t, netTree, nil), k)
	l.sysfs = writeTree(t, map[string]string{"module/a/initstate": "live\n"})
	if err := l.Load(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
}

// TestCancel cancels one caller while its module is starting: it returns at
// once, and another caller still gets the modules.
func TestCancel(t *testing.T) {
	starting, release := make(chan bool), make(chan bool)
	k := &fakeKernel{onLoad: func(name string) {
		if name == "failover" {
			starting <- true
			<-release
		}
	}}
	l, _ := newTestLoader(t, moduleTree(t, netTree, nil), k)
	ctx, cancel := context.WithCancel(t.Context())
	outcome := make(chan error)
	go func() { outcome <- l.Load(ctx, "virtio_net") }()
	<-starting
	other := make(chan error)
	go func() { other <- l.Load(t.Context(), "net_failover") }()
	cancel()
	if err := <-outcome; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	close(release)
	if err := <-other; err != nil {
		t.Errorf("the other: %v", err)
	}
	if !slices.Contains(k.names(), "net_failover") {
		t.Errorf("loaded %v", k.names())
	}
}

// Drivers that never start hold up neither the others nor the end.
func TestDriversThatNeverStart(t *testing.T) {
	const names = "abcdefgh"
	dep := "kernel/good.ko:\n"
	for _, name := range names {
		dep += fmt.Sprintf("kernel/%c.ko:\n", name)
	}
	dir := moduleTree(t, dep, nil)
	synctest.Test(t, func(t *testing.T) {
		never := make(chan struct{})
		k := &fakeKernel{}
		l, _ := newTestLoader(t, dir, k)
		l.workers = make(chan struct{}, 4)
		l.in.finit = func(fd int, params string, flags int) error {
			name := make([]byte, 1)
			if _, err := unix.Pread(fd, name, 0); err != nil {
				return err
			}
			if string(name) != "g" { // of good
				<-never
			}
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		for _, name := range names {
			if name != 'g' {
				go l.Load(ctx, string(name))
			}
		}
		synctest.Wait()
		began := time.Now()
		if err := l.Load(t.Context(), "good"); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 2*slowStart {
			t.Errorf("a driver waited %v for seven that never start", took)
		}
		synctest.Wait()
		cancel()
		err := l.Close()
		if err == nil || !strings.Contains(err.Error(), "still starting, and left to the kernel: a b c d e f h") {
			t.Errorf("closed: %v", err)
		}
		close(never)
	})
}
