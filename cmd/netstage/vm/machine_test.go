package vm

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/u-root/u-root/pkg/cpio"
)

// kernel unpacks Debian's cloud kernel 6.1 unless it is there.
func kernel(t *testing.T) string {
	t.Helper()
	script, err := filepath.Abs("../../../qemu-tests/setup/kernel.sh")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(script, "6.1").CombinedOutput(); err != nil {
		t.Skipf("needs a Debian with its kernel 6.1: %v\n%s", err, out)
	}
	found, err := filepath.Glob("../../../build/kernels/6.1/boot/vmlinuz-*")
	if err != nil || len(found) != 1 {
		t.Fatalf("kernels: %v, %v", found, err)
	}
	return found[0]
}

// initrd packs testdata/init as the init of an initrd.
func initrd(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "init")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "./testdata/init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	content, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	records := []cpio.Record{
		cpio.Directory("dev", 0o755), cpio.Directory("proc", 0o755), cpio.Directory("sys", 0o755),
		cpio.CharDev("dev/console", 0o600, 5, 1), cpio.CharDev("dev/null", 0o666, 1, 3),
		cpio.StaticFile("init", string(content), 0o755),
	}
	path := filepath.Join(dir, "initrd")
	var archive bytes.Buffer
	if err := cpio.WriteRecordsAndDirs(cpio.Newc.Writer(&archive), records); err != nil {
		t.Fatal(err)
	}
	if err := cpio.WriteTrailer(cpio.Newc.Writer(&archive)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, archive.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func needQEMU(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath(qemu); err != nil {
		t.Skip("needs QEMU: run qemu-tests/setup/deps.sh")
	}
}

// start starts a machine that ends with the test.
func start(t *testing.T, ctx context.Context, c Config) *Machine {
	t.Helper()
	m, err := Start(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// A served lists what a machine has fetched.
type served struct {
	mu    sync.Mutex
	paths []string
}

func (s *served) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.paths = append(s.paths, r.URL.Path)
		first := len(s.paths) == 2
		s.mu.Unlock()
		if first && r.URL.Path != "/boot.ipxe" {
			// The script is to try again.
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// TestNetworkBoot boots through iPXE, from a server that fails at first, types
// at the console and sees the machine switch itself off.
func TestNetworkBoot(t *testing.T) {
	needQEMU(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var fetched served
	initrd := initrd(t)
	image := filepath.Join(t.TempDir(), "image.squashfs")
	digest := strings.Repeat("0a", 32)
	for path, text := range map[string]string{image: "image", image + ".sha256": digest + "  image.squashfs\n"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m := start(t, ctx, Config{Kernel: kernel(t), Initrds: []string{initrd}, Image: image, Init: "/sbin/x",
		Append: "quiet a=b=c", Memory: 256, Wrap: fetched.wrap})
	if _, err := m.Expect(ctx, "attempt 1 of 7"); err != nil {
		t.Fatal(err)
	}
	line, err := m.ExpectPattern(ctx, regexp.MustCompile(`cmdline: .*\n`))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"console=ttyS0", "init=/sbin/x", "quiet a=b=c", "rootfs=image.squashfs",
		"rootfs.sha256=" + digest, "BOOTIF=01-52-54-00-12-34-56", "rootfs.base=http://10.0.2.2:"} {
		if !strings.Contains(line, want) {
			t.Errorf("%q is missing in %s", want, line)
		}
	}
	if err := m.SetLink(ctx, 0, false); err != nil {
		t.Error(err)
	}
	if _, err := m.Expect(ctx, "what now? "); err != nil {
		t.Fatal(err)
	}
	if err := m.Send("a\x7f\x01\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Expect(ctx, `no command "\x01"`); err != nil {
		t.Fatal(err)
	}
	if err := m.Send("poweroff\r"); err != nil {
		t.Fatal(err)
	}
	if end, err := m.Wait(ctx); end != PowerOff || err != nil {
		t.Errorf("the machine ended by %q, %v\n%s", end, err, m.console.Tail(20))
	}
	if m.PeakMemory() < 1<<20 {
		t.Errorf("QEMU is said to have used %d bytes", m.PeakMemory())
	}
	name := "/" + filepath.Base(m.config.Kernel)
	want := []string{"/boot.ipxe", name, name, "/initrd"}
	if got := fetched.paths; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("fetched %v, want %v", got, want)
	}
	m.Close()
	if left, err := filepath.Glob(m.dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// sector writes a boot sector with some code for the 8086.
func sector(t *testing.T, code string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "sector")
	text := code + strings.Repeat("\x00", 510-len(code)) + "\x55\xaa" + strings.Repeat("\x00", 1<<20-512)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestEnds runs machines that end in one way or another.
func TestEnds(t *testing.T) {
	needQEMU(t)
	const (
		// mov dx, 0x604; mov ax, 0x2000; out dx, ax: ACPI's soft off
		poweroff = "\xba\x04\x06\xb8\x00\x20\xef\xf4"
		// mov al, 0xfe; out 0x64, al; hlt: the keyboard controller's reset
		reset = "\xb0\xfe\xe6\x64\xf4"
		// xor ax, ax; mov ds, ax; mov si, text; then write all of text to the
		// first serial port, and the reset
		say = "\x31\xc0\x8e\xd8\xbe\x17\x7c\xac\x08\xc0\x74\x06\xba\xf8\x03\xee\xeb\xf5" + reset
	)
	for _, test := range []struct {
		code string
		want End
	}{
		{poweroff, PowerOff},
		{reset, Reset},
		{say + "Kernel panic - not syncing: test\r\n\x00", Panic},
	} {
		t.Run(string(test.want), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			dir := t.TempDir() // what it serves is not asked for
			if err := os.WriteFile(filepath.Join(dir, "boot.ipxe"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			m := start(t, ctx, Config{Dir: dir, Memory: 64, NoNIC: true,
				Drives: []string{"format=raw,file=" + sector(t, test.code)}, ExtraArgs: []string{"-boot", "c"}})
			if end, err := m.Wait(ctx); end != test.want || err != nil {
				t.Errorf("the machine ended by %q, %v\n%s", end, err, m.console.Tail(20))
			}
			// An error afterwards says what there was, and how to see it again.
			_, err := m.Expect(ctx, "something else")
			if err == nil {
				t.Fatal("a text was found that never came")
			}
			for _, part := range []string{"the machine ended first", "SeaBIOS", "netstage boot --dir", "qemu-system-x86_64 -machine pc"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q is missing in %v", part, err)
				}
			}
		})
	}
}

func TestExpectGivesUp(t *testing.T) {
	needQEMU(t)
	m := start(t, t.Context(), Config{Kernel: kernel(t), Memory: 256, Direct: true, ExtraArgs: []string{"-S"}})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := m.Expect(ctx, "never"); err == nil || !strings.Contains(err.Error(), "deadline") {
		t.Errorf("got %v", err)
	}
	if _, err := m.Wait(ctx); err == nil {
		t.Error("a machine that runs has ended")
	}
	m.Close()
	if end, err := m.Wait(t.Context()); end != Stopped || err != nil {
		t.Errorf("a machine that was closed ended by %q, %v", end, err)
	}
}

func TestQEMUFailureIsExplained(t *testing.T) {
	needQEMU(t)
	m := start(t, t.Context(), Config{Kernel: kernel(t), NICs: []NIC{{Model: "no-such-card"}}})
	end, err := m.Wait(t.Context())
	if end != Failed || err == nil || !strings.Contains(err.Error(), "no-such-card") {
		t.Errorf("%q, %v", end, err)
	}
}

func TestMissingFilesAreNamed(t *testing.T) {
	needQEMU(t)
	for _, c := range []Config{
		{Kernel: "/nowhere/bzImage"},
		{Kernel: "/proc/version", Initrds: []string{"/nowhere/initrd"}},
		{Kernel: "/proc/version", Image: "/nowhere/image"},
		{Dir: "/nowhere"},
	} {
		m, err := Start(t.Context(), c)
		if err == nil {
			m.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "/nowhere") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
