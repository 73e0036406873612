package bench

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"netstage/qemu-tests/nsmachine"
	"netstage/qemu-tests/system"
)

var nativeCases = []nativeCase{
	{"without transfer", tiny, false},
	{"10 MB", 10_000_000, false},
	{"102 MB", usual, false},
	{"102 MB, verified", usual, true},
	{"1 GB, verified", 1_000_000_000, true},
}

func TestMain(m *testing.M) {
	nsmachine.Launch()
	os.Exit(m.Run())
}

// BenchmarkNative boots the agent of BENCH_BEFORE, a file, and today's in turn,
// BENCH_RUNS times (5), as PID 1 of namespaces: by this host's processors and
// not by emulated ones. It writes a table to stdout and to
// build/bench-native.txt.
func BenchmarkNative(b *testing.B) {
	before := os.Getenv("BENCH_BEFORE")
	if before == "" {
		b.Skip("BENCH_BEFORE names no agent to compare with")
	}
	f := fixture{B: b, build: "../../build"}
	runs := 5
	if os.Getenv("BENCH_RUNS") != "" {
		runs = f.runs()
	}
	for b.Loop() {
		text := f.native(before, runs)
		if err := os.WriteFile(filepath.Join(f.build, "bench-native.txt"), []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
		fmt.Printf("\n\n%s\n", text)
		b.ReportMetric(0, "ns/op")
	}
}

func (f fixture) native(before string, runs int) string {
	dir, load := f.TempDir(), loadAverage()
	var results []nativeResult
	for n, c := range nativeCases {
		name := fmt.Sprint(n)
		i := f.image(dir, name, c.size)
		lan := nsmachine.NewLAN(f) // one for each: it has addresses for 90 machines
		lan.DHCP(f)
		url := lan.Serve(f, http.FileServer(http.Dir(dir)))
		r := nativeResult{nativeCase: c, bytes: i.Size}
		for run := range runs {
			agents := []func(){
				func() { r.before = append(r.before, f.bootNatively(before, lan, url, i, c.verify)) },
				func() { r.today = append(r.today, f.bootNatively(f.program(), lan, url, i, c.verify)) },
			}
			agents[run%2]()
			agents[1-run%2]()
			fmt.Fprintf(os.Stderr, "%d/%d %s: before %v, today %v\n", run+1, runs, c.name, r.before[run].took, r.today[run].took)
		}
		results = append(results, r)
		if err := os.Remove(i.Path); err != nil {
			f.Fatal(err)
		}
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "Boots in namespaces of this host, not emulated: veth, dnsmasq, an HTTP server in Go, squashfs and overlay of the host's kernel.\nFrom /init to stage 2, %d interleaved runs each. %d processors, load average %s before and %s after.\n\n",
		runs, runtime.NumCPU(), load, loadAverage())
	if err := writeNative(&text, results); err != nil {
		f.Fatal(err)
	}
	return text.String()
}

// bootNatively boots an image once.
func (f fixture) bootNatively(program string, lan *nsmachine.LAN, url string, i Image, verify bool) nativeBoot {
	f.Helper()
	digest := ""
	if verify {
		digest = " rootfs.sha256=" + i.SHA256
	}
	m := nsmachine.Start(f, nsmachine.Config{
		Init: program, LAN: lan, Ready: true,
		Cmdline: "console=ttyS0,115200 loglevel=4 boot.fail_timeout=1 rootfs=" + url + filepath.Base(i.Path) + digest + " init=" + system.Init,
	})
	m.ExpectKmsg(nsmachine.Began)
	began := time.Now()
	m.ExpectKmsg("bench: stage 2")
	boot := nativeBoot{took: time.Since(began)}
	if end := m.End(); end != nsmachine.PoweredOff {
		f.Fatalf("the machine ended by %s", end)
	}
	told, err := parseReport(m.Console.String())
	if err != nil {
		f.Fatal(err)
	}
	boot.steps, boot.spent = told.Steps, m.Spent()
	return boot
}
