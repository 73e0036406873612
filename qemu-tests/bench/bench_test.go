package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"netstage/cmd/netstage/initrd"
)

// The sizes of the images, in bytes.
const (
	usual = 102_000_000
	tiny  = 0
	big   = 2_300_000_000 // the all-in-one format ends at 2.1 GB
)

// BenchmarkBoot boots all contenders in turn, BENCH_RUNS times (3), or with
// BENCH_BEFORE, another agent's file, that one and today's; then the big image
// unless BENCH_BIG is "no", and writes a table to stdout and to
// build/bench.txt, with what BENCH_PACKAGES, a file, holds of other
// benchmarks.
func BenchmarkBoot(b *testing.B) {
	f := newFixture(b)
	for b.Loop() {
		r := f.run(f.runs())
		var text bytes.Buffer
		if err := r.Write(&text); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(f.build, "bench.txt"), text.Bytes(), 0o644); err != nil {
			b.Fatal(err)
		}
		fmt.Printf("\n\n%s\n", &text)
		for _, result := range r.Results {
			b.ReportMetric(result.Boot().Seconds(), strings.NewReplacer(" ", "-", ",", "").Replace(result.Name)+"-s")
		}
		b.ReportMetric(0, "ns/op")
	}
}

// fixture is what the contenders share.
type fixture struct {
	*testing.B
	build  string // folder with what the setup scripts made
	kernel string // folder of a kernel package
}

func newFixture(b *testing.B) fixture {
	b.Helper()
	build, err := filepath.Abs("../../build")
	if err != nil {
		b.Fatal(err)
	}
	f := fixture{B: b, build: build, kernel: filepath.Join(build, "kernels/6.12")}
	for _, dir := range []string{f.kernel, f.debian()} {
		if !exists(dir) {
			b.Fatalf("%s is not there: make bench makes it", dir)
		}
	}
	return f
}

// runs is how many times each contender is booted.
func (f fixture) runs() int {
	f.Helper()
	text := os.Getenv("BENCH_RUNS")
	if text == "" {
		return 3
	}
	runs, err := strconv.Atoi(text)
	if err != nil || runs < 1 {
		f.Fatalf("BENCH_RUNS=%s: want a number from 1 on", text)
	}
	return runs
}

func (f fixture) debian() string { return filepath.Join(f.build, "debian") }

func (f fixture) run(runs int) Report {
	dir := f.TempDir()
	before := loadAverage()
	r := Report{Others: f.packages()}
	for _, c := range f.contenders(dir) {
		r.Results = append(r.Results, Result{Contender: c})
	}
	r.Agent, r.AgentCompressed = f.agentSizes()
	code, err := CodeOf(f.program())
	if err != nil {
		f.Fatal(err)
	}
	if r.Trust, err = trustLines(code); err != nil {
		f.Fatal(err)
	}
	r.Modules = largest(code, 16)
	image := f.image(dir, "image", usual)
	small := f.image(dir, "tiny", tiny)
	for run := range runs {
		for n := range r.Results {
			result := &r.Results[n]
			full, least := f.boot(result.Contender, image), f.boot(result.Contender, small)
			result.Full, result.Tiny = append(result.Full, full), append(result.Tiny, least)
			fmt.Fprintf(os.Stderr, "%d/%d %s: %.2f s, without transfer %.2f s\n", run+1, runs, result.Name, full.Boot.Seconds(), least.Boot.Seconds())
		}
	}
	if os.Getenv("BENCH_BIG") != "no" {
		f.big(dir, &r)
	}
	r.Title = fmt.Sprintf(`From /init to stage 2: the agent and stand-ins for the script it replaces.
Linux %s in QEMU, %s, 2048 MiB, virtio-net, direct boot, loglevel=4.
The image has %d bytes, nearly all random; "without transfer" is the same with an image of %d bytes.
Used is MemTotal less MemAvailable when stage 2 begins, and less the free pages on the processor's list: the image is in it, page cache is not.
QEMU's peak is its resident memory: the machine's pages that were ever touched, and the code that QEMU translated.
Medians of %d interleaved runs. This host: %d processors, load average %s before and %s after.`,
		filepath.Base(f.one("lib/modules/*")), accelerator(), image.Size, small.Size, runs, runtime.NumCPU(), before, loadAverage())
	return r
}

// packages reads the benchmarks that have been run before.
func (f fixture) packages() []string {
	f.Helper()
	file := os.Getenv("BENCH_PACKAGES")
	if file == "" {
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		f.Fatal(err)
	}
	return Lines(string(text))
}

// contenders packs the initrds.
func (f fixture) contenders(dir string) []Contender {
	if before := os.Getenv("BENCH_BEFORE"); before != "" {
		return f.sized([]Contender{
			{Name: agentBefore, Initrd: f.agent(dir, "before", before, "virtio_net")},
			{Name: agent, Initrd: f.agent(dir, "agent", f.program(), "virtio_net")},
			{Name: agentBefore256, Initrd: filepath.Join(dir, "before"), Verify: true},
			{Name: agentSHA256, Initrd: filepath.Join(dir, "agent"), Verify: true},
		})
	}
	bare := f.standIn(dir, "bare", StandIn{Load: bareModules})
	udev := f.standIn(dir, "udev", StandIn{Load: nixosLoad, Carry: nixosModules, Debian: f.debian()})
	one := f.agent(dir, "agent", f.program(), "virtio_net")
	all := f.agent(dir, "agent-all", f.program())
	return f.sized([]Contender{
		{Name: scriptUdev, Initrd: udev},
		{Name: script, Initrd: bare},
		{Name: agent, Initrd: one},
		{Name: agentAll, Initrd: all},
		{Name: scriptSHA256, Initrd: bare, Verify: true},
		{Name: agentSHA256, Initrd: one, Verify: true},
		{Name: agentAll256, Initrd: all, Verify: true},
	})
}

// sized notes how large the initrds are.
func (f fixture) sized(contenders []Contender) []Contender {
	f.Helper()
	for i := range contenders {
		contenders[i].Size = f.size(contenders[i].Initrd)
	}
	return contenders
}

func (f fixture) standIn(dir, name string, s StandIn) string {
	f.Helper()
	file := filepath.Join(dir, name)
	n, err := s.Write(context.Background(), f.kernel, file)
	if err != nil {
		f.Fatalf("stand-in %s: %v", name, err)
	}
	fmt.Fprintf(os.Stderr, "stand-in %s: %d modules\n", name, n)
	return file
}

// agent packs an agent as the tool does by default.
func (f fixture) agent(dir, name, program string, modules ...string) string {
	f.Helper()
	file := filepath.Join(dir, name)
	out, err := os.Create(file)
	if err != nil {
		f.Fatal(err)
	}
	defer out.Close()
	_, err = initrd.Build(context.Background(), initrd.Options{
		KernelModules: f.one("lib/modules/*"), Init: program, Modules: modules,
	}, out)
	if err != nil {
		f.Fatal(err)
	}
	return file
}

// program is the agent as make build made it.
func (f fixture) program() string { return filepath.Join(f.build, "../bin/stage1") }

func (f fixture) agentSizes() (plain, compressed int64) {
	f.Helper()
	zstd, err := exec.Command("zstd", "-19", "-T1", "-q", "-c", f.program()).Output()
	if err != nil {
		f.Fatalf("zstd: %v", err)
	}
	return f.size(f.program()), int64(len(zstd))
}

func (f fixture) image(dir, name string, size int64) Image {
	f.Helper()
	i, _, err := PackImage(context.Background(), filepath.Join(dir, name+".squashfs"), size, false)
	if err != nil {
		f.Fatal(err)
	}
	return i
}

func (f fixture) boot(c Contender, i Image) Sample {
	f.Helper()
	s, _, err := Boot(context.Background(), f.one("boot/vmlinuz-*"), c, i, 2048)
	if err != nil {
		f.Fatal(err)
	}
	return s
}

// big boots an image that is larger than 32 bits' worth of signed bytes and
// proves that its end arrived.
func (f fixture) big(dir string, r *Report) {
	f.Helper()
	fmt.Fprintln(os.Stderr, "packing the big image")
	i, digest, err := PackImage(context.Background(), filepath.Join(dir, "big.squashfs"), big, true)
	if err != nil {
		f.Fatal(err)
	}
	defer os.Remove(i.Path)
	s, console, err := Boot(context.Background(), f.one("boot/vmlinuz-*"), r.result(agent).Contender, i, 6<<10)
	if err != nil {
		f.Fatal(err)
	}
	if got := LastDigest(console); got != digest {
		f.Errorf("the last file of the big image has the SHA-256 %q, want %s", got, digest)
	}
	r.Big, r.BigImage = &s, i.Size
}

func (f fixture) one(pattern string) string {
	f.Helper()
	found, err := filepath.Glob(filepath.Join(f.kernel, pattern))
	if err != nil || len(found) != 1 {
		f.Fatalf("%s: %v, %v", pattern, found, err)
	}
	return found[0]
}

func (f fixture) size(file string) int64 {
	f.Helper()
	info, err := os.Stat(file)
	if err != nil {
		f.Fatal(err)
	}
	return info.Size()
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "?"
	}
	return strings.Fields(string(text))[0]
}
