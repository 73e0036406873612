package fetch

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netstage/fetch/store"
	"netstage/fetch/verify"
)

// BenchmarkFetch downloads one image over loopback from nginx into tmpfs with
// every contender in turn, several rounds, and reports the median MB/s and CPU
// seconds of each, and the ratios that matter, of the medians and of each one's
// best round: what disturbs a round, such as a host that takes memory back,
// only ever slows it down. The image's size is FETCH_BENCH_MIB, 1024 by
// default. Run it as: go test -run - -bench Fetch -benchtime 5x ./fetch
func BenchmarkFetch(b *testing.B) {
	size := 1024
	if s := os.Getenv("FETCH_BENCH_MIB"); s != "" {
		size, _ = strconv.Atoi(s)
	}
	served := tmpfs(b, "huge=always")
	content := imageBytes(size << 20)
	if err := os.WriteFile(filepath.Join(served, "image"), content, 0o644); err != nil {
		b.Fatal(err)
	}
	digest := sum(content)
	tree := treeOf(b, content)
	content = nil
	url := startNginx(b, served, "") + "image"
	contenders := []struct {
		name string
		run  func(dir string) time.Duration // returns its CPU time
	}{
		{"get", func(dir string) time.Duration { return benchGet(b, dir, url, nil, nil) }},
		{"get-sha256", func(dir string) time.Duration { return benchGet(b, dir, url, digest, nil) }},
		{"get-verity", func(dir string) time.Duration { return benchGet(b, dir, url, nil, tree.Verifier(2)) }},
		{"curl", func(dir string) time.Duration { return command(b, dir, "curl", "-sSf", "-o", "image", url) }},
		{"curl-huge", func(dir string) time.Duration { return command(b, dir, "curl", "-sSf", "-o", "image", url) }},
		{"curl+sha256sum", func(dir string) time.Duration {
			return command(b, dir, "sh", "-c", "curl -sSf -o image "+url+" && sha256sum image >/dev/null")
		}},
		{"wget+sha256sum", func(dir string) time.Duration {
			return command(b, dir, "sh", "-c", "wget -q -O image "+url+" && sha256sum image >/dev/null")
		}},
	}
	walls, cpus := map[string][]float64{}, map[string][]float64{}
	var peak float64
	order := rand.New(rand.NewPCG(1, 2))
	for b.Loop() {
		// Who comes after whom matters: huge pages are dear when small ones
		// were just given back.
		for _, i := range order.Perm(len(contenders)) {
			c := contenders[i]
			_ = os.WriteFile("/proc/sys/vm/compact_memory", []byte("1"), 0) // not every kernel has it
			option := "size=90%"
			if strings.HasSuffix(c.name, "-huge") || strings.HasPrefix(c.name, "get") {
				option += ",huge=always"
			}
			dir := tmpfs(b, option)
			warm(b, dir, size)
			resetPeak(b)
			before := resident(b, "VmRSS")
			start := time.Now()
			cpu := c.run(dir)
			walls[c.name] = append(walls[c.name], time.Since(start).Seconds())
			cpus[c.name] = append(cpus[c.name], cpu.Seconds())
			if c.name == "get-sha256" {
				peak = max(peak, resident(b, "VmHWM")-before)
			}
			if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
				b.Fatal(err)
			}
		}
	}
	for _, c := range contenders {
		b.ReportMetric(float64(size)*1.048576/median(walls[c.name]), c.name+"-MB/s")
		b.ReportMetric(median(cpus[c.name]), c.name+"-cpu-s")
	}
	for _, baseline := range []string{"curl", "curl-huge", "curl+sha256sum"} {
		b.ReportMetric(median(walls[baseline])/median(walls["get-sha256"]), "x-of-"+baseline)
		b.ReportMetric(slices.Min(walls[baseline])/slices.Min(walls["get-sha256"]), "best-x-of-"+baseline)
	}
	b.ReportMetric(median(cpus["get-sha256"])/median(cpus["curl+sha256sum"]), "cpu-of-curl+sha256sum")
	b.ReportMetric(peak/1024, "peak-MiB")
	b.ReportMetric(0, "ns/op")
}

// warm fills dir with size MiB once and empties it, so that the contender gets
// memory that this machine has at hand: in a guest, memory that its host has to
// find first costs more than the whole download.
func warm(b *testing.B, dir string, size int) {
	b.Helper()
	name := filepath.Join(dir, "warm")
	f, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	zeros := make([]byte, 2<<20) // once: what it leaves in the heap would be taken for the engine's
	for range size / 2 {
		if _, err := f.Write(zeros); err != nil {
			b.Fatal(err)
		}
	}
	if err := os.Remove(name); err != nil {
		b.Fatal(err)
	}
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

func tmpfs(b *testing.B, options string) string {
	b.Helper()
	dir := b.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		b.Fatalf("mount: %v", err)
	}
	b.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func benchGet(b *testing.B, dir, url string, digest []byte, v verify.Verifier) time.Duration {
	b.Helper()
	before := cpuTime(b)
	image, err := Get(b.Context(), Request{Mirrors: mirrors(url), SHA256: digest, Verify: v, Store: store.Memory(filepath.Join(dir, "m")), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	cpu := cpuTime(b) - before
	if err := image.Close(); err != nil {
		b.Fatal(err)
	}
	return cpu
}

func command(b *testing.B, dir, name string, args ...string) time.Duration {
	b.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%s: %v\n%s", name, err, out)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func resetPeak(b *testing.B) {
	b.Helper()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		b.Fatal(err)
	}
}

// resident is a line of /proc/self/status, in KiB.
func resident(b *testing.B, field string) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), field+":")
	var kib float64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		b.Fatal(err)
	}
	return kib
}
