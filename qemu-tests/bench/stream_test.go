package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"text/tabwriter"

	"netstage/cmd/netstage/initrd"
	"netstage/cmd/netstage/vm"
	"netstage/qemu-tests/system"
)

const megabyte = 1_000_000

// BenchmarkStream boots images streamed and whole, and writes tables to stdout
// and to build/bench-stream.txt, after each part, so that one that fails leaves
// the others' figures. BENCH_BIG=no leaves the largest image out where it is
// fetched whole: an emulated processor hashes a gigabyte for minutes.
func BenchmarkStream(b *testing.B) {
	build, err := filepath.Abs("../../build")
	if err != nil {
		b.Fatal(err)
	}
	var text bytes.Buffer
	for _, part := range []struct {
		name    string
		measure func(fixture, string, *streamReport)
	}{
		{"sizes", fixture.streamSizes}, {"whole", fixture.streamWhole}, {"reads", fixture.streamReads}, {"debian", fixture.streamDebian},
	} {
		b.Run(part.name, func(b *testing.B) {
			f := fixture{B: b, build: build, kernel: filepath.Join(build, "kernels/6.12")}
			for b.Loop() {
				before := loadAverage()
				var r streamReport
				part.measure(f, b.TempDir(), &r)
				if text.Len() == 0 {
					fmt.Fprintf(&text, "A streamed root: Linux %s in QEMU, %s, 3 GiB, two processors, virtio-net, direct boot.\nEach boot once; those of sizes that are streamed three times, and the fastest is told.\n",
						filepath.Base(f.one("lib/modules/*")), accelerator())
				}
				fmt.Fprintf(&text, "\nLoad average of this host, of %d processors, %s before and %s after:\n\n", runtime.NumCPU(), before, loadAverage())
				r.write(&text)
				if err := os.WriteFile(filepath.Join(build, "bench-stream.txt"), text.Bytes(), 0o644); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(0, "ns/op")
			}
		})
	}
	fmt.Printf("\n\n%s\n", &text)
}

// streamReport is what the boots of a part found out.
type streamReport struct{ rows, targets [][]any }

func (r *streamReport) row(cells ...any) { r.rows = append(r.rows, cells) }

// target notes whether a figure is as wanted, at most, or at least.
func (r *streamReport) target(what string, have float64, sign string, want float64) {
	verdict := "met"
	if sign == "<=" && have > want || sign == ">=" && have < want {
		verdict = "missed"
	}
	r.targets = append(r.targets, []any{what, fmt.Sprintf("%s %.2f", sign, want), fmt.Sprintf("%.2f", have), verdict})
}

func (r *streamReport) write(text *bytes.Buffer) {
	for _, table := range [][][]any{r.rows, append([][]any{{"target", "want", "have", ""}}, r.targets...)} {
		w := tabwriter.NewWriter(text, 0, 8, 2, ' ', 0)
		for _, cells := range table {
			for _, c := range cells {
				if v, ok := c.(float64); ok {
					c = fmt.Sprintf("%.2f", v)
				}
				fmt.Fprintf(w, "%v\t", c)
			}
			fmt.Fprintln(w)
		}
		w.Flush()
		fmt.Fprintln(text)
	}
}

// machine is one that boots an image, by an initrd with all that a stream
// needs.
func (f fixture) machine(dir, file, init string) vm.Config {
	f.Helper()
	archive := filepath.Join(dir, "streamed.initrd")
	if !exists(archive) {
		f.streamInitrd(archive)
	}
	return vm.Config{Kernel: f.one("boot/vmlinuz-*"), Initrds: []string{archive}, Image: file, Init: init}
}

func (f fixture) streamInitrd(archive string) {
	f.Helper()
	out, err := os.Create(archive)
	if err != nil {
		f.Fatal(err)
	}
	defer out.Close()
	_, err = initrd.Build(context.Background(), initrd.Options{
		KernelModules: f.one("lib/modules/*"), Init: f.program(), Modules: []string{"virtio_net", "nbd", "dm_mod"},
	}, out)
	if err != nil {
		f.Fatal(err)
	}
}

// streamed boots an image and wants some marks.
func (f fixture) streamed(c vm.Config, rate int64, cmdline string, marks ...string) told {
	f.Helper()
	c.Append = cmdline
	got, err := bootStreamed(context.Background(), c, rate)
	if err != nil {
		f.Fatal(err)
	}
	for _, mark := range marks {
		if got.marks[mark] == 0 {
			f.Fatalf("stage 2 did not tell of %s:\n%s", mark, got.console)
		}
	}
	fmt.Fprintf(os.Stderr, "%s at %d MB/s, %q: %v\n", filepath.Base(c.Image), rate/megabyte, cmdline, got.marks)
	return got
}

func (f fixture) packStreamed(file string, size int64, script string) {
	f.Helper()
	if err := packStreamed(context.Background(), file, size, script); err != nil {
		f.Fatal(err)
	}
}

// streamSizes measures from /init to stage 2, of a server of 50 MB/s. A boot
// ends there.
func (f fixture) streamSizes(dir string, r *streamReport) {
	f.Helper()
	const rate = 50 * megabyte
	r.row("image, MB", "streamed: stage 2, s", "sent by then, MB", "%", "whole: stage 2, s", "streamed / whole")
	var first float64
	for _, size := range []int64{10 * megabyte, 100 * megabyte, 1000 * megabyte} {
		file := filepath.Join(dir, fmt.Sprintf("%d-MB.squashfs", size/megabyte))
		f.packStreamed(file, size, tellStage2)
		c := f.machine(dir, file, system.Init)
		streamed := f.streamed(c, rate, "rootfs.stream", "stage 2")
		for range 2 { // the fastest of three: seconds differ by chance as much as by size
			if again := f.streamed(c, rate, "rootfs.stream", "stage 2"); again.marks["stage 2"] < streamed.marks["stage 2"] {
				streamed = again
			}
		}
		part := 100 * float64(streamed.sent) / float64(size)
		row := []any{size / megabyte, streamed.marks["stage 2"], float64(streamed.sent) / megabyte, part, "left out", ""}
		if size < 1000*megabyte || os.Getenv("BENCH_BIG") != "no" {
			whole := f.streamed(c, rate, "", "stage 2")
			row = append(row[:4], whole.marks["stage 2"], streamed.marks["stage 2"]/whole.marks["stage 2"])
		}
		r.row(row...)
		if first == 0 {
			first = streamed.marks["stage 2"]
		}
		if size == 1000*megabyte {
			r.target("stage 2 of 1 GB / of 10 MB, streamed", streamed.marks["stage 2"]/first, "<=", 1.2)
			r.target("% of 1 GB that is sent until stage 2", part, "<=", 5)
		}
		if err := os.Remove(file); err != nil {
			f.Fatal(err)
		}
	}
}

// streamWhole measures until all is there, and what memory is used then, at a
// rate that an emulated processor keeps up with.
func (f fixture) streamWhole(dir string, r *streamReport) {
	f.Helper()
	const rate, size = 5 * megabyte, 100 * megabyte
	file := filepath.Join(dir, "image.squashfs")
	f.packStreamed(file, size, tellStage2)
	c := f.machine(dir, file, system.Init)
	whole := f.streamed(c, rate, "", "stage 2")
	streamed := f.streamed(c, rate, "rootfs.stream bench.whole", "stage 2", "whole")
	used := func(t told) float64 { return parseFigures(t.console)["used"][0][0] / (1 << 20) }
	r.row("100 MB at 5 MB/s", "stage 2, s", "all there, s", "memory used then, MiB")
	r.row("whole", whole.marks["stage 2"], whole.marks["stage 2"], used(whole))
	r.row("streamed", streamed.marks["stage 2"], streamed.marks["whole"], used(streamed))
	r.target("all there / of fetching it whole", streamed.marks["whole"]/whole.marks["stage 2"], "<=", 1.1)
	r.target("memory beyond a boot without a stream, MiB", used(streamed)-used(whole), "<=", 24)
}

// streamReads measures reads through the device before and after the swap.
func (f fixture) streamReads(dir string, r *streamReport) {
	f.Helper()
	const size, part = 200 * megabyte, 100 // MiB
	file := filepath.Join(dir, "image.squashfs")
	f.packStreamed(file, size, fmt.Sprintf(tellReads, part))
	c := f.machine(dir, file, system.Init)
	// Nothing is fetched until it is read, so that the swap is when it is meant
	// to be.
	got := f.streamed(c, 0, "rootfs.stream=demand")
	figures := parseFigures(got.console)
	head, rates := []any{"read of 100 MiB"}, []any{"MiB/s"}
	for _, read := range []struct{ name, title string }{
		{"first", "fetched"}, {"before", "kept, before the swap"}, {"after", "after it"}, {"plain", "plain loop device"},
	} {
		if len(figures[read.name]) == 0 {
			f.Fatalf("stage 2 did not tell of %s:\n%s", read.name, got.console)
		}
		head, rates = append(head, read.title), append(rates, fastest(figures[read.name], part))
	}
	r.row(head...)
	r.row(rates...)
	r.target("read after the swap / plain loop device", fastest(figures["after"], part)/fastest(figures["plain"], part), ">=", 0.97)
}

// streamDebian measures a Debian's way to multi-user, with what the same boot
// takes where the link is no limit.
func (f fixture) streamDebian(dir string, r *streamReport) {
	f.Helper()
	file := filepath.Join(dir, "debian.squashfs")
	if err := packDebian(context.Background(), f.debian(), file, 200<<20); err != nil {
		f.Fatal(err)
	}
	size := f.size(file)
	c := f.machine(dir, file, system.DebianClassic)
	boot := func(rate int64, cmdline string) told { return f.streamed(c, rate, cmdline, "multi-user") }
	recorded := boot(0, "rootfs.stream=demand bench.whole")
	hot := parseHot(recorded.console)
	if len(slices.Collect(bytes.Lines(hot))) < 2 {
		f.Fatalf("stage 2 told no hot list:\n%s", recorded.console)
	}
	r.row(fmt.Sprintf("Debian of %d MB", size/megabyte), "whole, s", "streamed, s", "of whole", "with hot list, s", "of whole", "sent by then, MB", "with hot list, MB")
	for _, rate := range []int64{5 * megabyte, 50 * megabyte} {
		whole, streamed := boot(rate, ""), boot(rate, "rootfs.stream")
		if err := os.WriteFile(file+".hot", hot, 0o644); err != nil {
			f.Fatal(err)
		}
		listed := boot(rate, "rootfs.stream")
		if err := os.Remove(file + ".hot"); err != nil {
			f.Fatal(err)
		}
		a, b, c := whole.marks["multi-user"], streamed.marks["multi-user"], listed.marks["multi-user"]
		r.row(fmt.Sprintf("multi-user at %d MB/s", rate/megabyte), a, b, b/a, c, c/a, float64(streamed.sent)/megabyte, float64(listed.sent)/megabyte)
		if rate == 5*megabyte {
			r.target("Debian at 5 MB/s: streamed / whole", b/a, "<=", 0.5)
			r.target("Debian at 5 MB/s: with hot list / whole", c/a, "<=", 0.35)
		}
	}
	r.row("on demand, no limit", "", recorded.marks["multi-user"])
}
