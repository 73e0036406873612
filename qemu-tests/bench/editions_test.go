package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"netstage/cmd/netstage/image"
	"netstage/cmd/netstage/vm"
	"netstage/qemu-tests/system"
)

var formats = []image.Format{image.Squashfs, image.Erofs}

// BenchmarkEditions compares the formats of an image: how large it is, how long
// it takes to make and to boot, and what a machine with a cache disk fetches
// where a package was updated, and of the same image again. It writes a table
// to stdout and to build/bench-editions.txt.
func BenchmarkEditions(b *testing.B) {
	f := newFixture(b)
	paths := filepath.Join(f.build, "editions")
	update, err := os.ReadFile(filepath.Join(paths, "changed"))
	if err != nil {
		b.Fatalf("%v: make bench makes it", err)
	}
	for b.Loop() {
		text := f.editions(paths, strings.TrimSpace(string(update)))
		if err := os.WriteFile(filepath.Join(f.build, "bench-editions.txt"), []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
		fmt.Printf("\n\n%s\n", text)
		b.ReportMetric(0, "ns/op")
	}
}

func (f fixture) editions(paths, update string) string {
	dir, before := f.TempDir(), loadAverage()
	initrd := f.agent(dir, "editions", "virtio_net")
	packed := map[image.Format][2]Edition{}
	for _, format := range formats {
		packed[format] = [2]Edition{f.edition(dir, paths, "before", format), f.edition(dir, paths, "after", format)}
	}
	boots := map[image.Format][]EditionBoot{}
	for run := range f.runs() {
		for _, format := range formats {
			boot := f.bootEdition(packed[format][0], initrd)
			boots[format] = append(boots[format], boot)
			fmt.Fprintf(os.Stderr, "%d %s: stage 2 after %v, multi-user after %v\n", run+1, format, boot.Stage2, boot.MultiUser)
		}
	}

	var text bytes.Buffer
	fmt.Fprintf(&text, `Two editions of an image of Debian's packages, %s.
Linux %s in QEMU, %s, 2048 MiB, virtio-net, direct boot, verified by root hash; systemd %s.
Boot times are medians of %d interleaved runs, of the first edition. This host: %d processors, load average %s before and %s after.

`, update, filepath.Base(f.one("lib/modules/*")), accelerator(), "of Debian 12", f.runs(), runtime.NumCPU(), before, loadAverage())
	t := tabwriter.NewWriter(&text, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tbytes\tmade in, s\t/init to stage 2, s\tto multi-user, s\tchanged bytes\tfetched\tper changed byte\trequests\tits tree\tthe same again\t")
	for _, format := range formats {
		first, second := packed[format][0], packed[format][1]
		differ, err := changed(first.Path, second.Path)
		if err != nil {
			f.Fatal(err)
		}
		update, err := Fetch(context.Background(), dir, first, second)
		if err != nil {
			f.Fatal(err)
		}
		same, err := Fetch(context.Background(), dir, second, second)
		if err != nil {
			f.Fatal(err)
		}
		perChanged, again := float64(update.Image)/float64(differ), float64(same.Image+same.Tree)/float64(second.Size)
		if format == image.Erofs && perChanged > 1.3 {
			f.Errorf("%.2f bytes were fetched for each that changed, want 1.3", perChanged)
		}
		if again > 0.012 {
			f.Errorf("%s: %.2f %% of the same image were fetched again, want 1.2 %%", format, 100*again)
		}
		fmt.Fprintf(t, "%s\t%d\t%.0f\t%s\t%s\t%d\t%d\t%.2f\t%d\t%d\t%.2f %%\t\n", format, first.Size, first.Took.Seconds(),
			seconds(medianOf(boots[format], func(b EditionBoot) time.Duration { return b.Stage2 })), seconds(medianOf(boots[format], func(b EditionBoot) time.Duration { return b.MultiUser })),
			differ, update.Image, perChanged, update.Requests, update.Tree, 100*again)
	}
	if err := t.Flush(); err != nil {
		f.Fatal(err)
	}
	return text.String()
}

func medianOf(boots []EditionBoot, figure func(EditionBoot) time.Duration) time.Duration {
	var all []time.Duration
	for _, b := range boots {
		all = append(all, figure(b))
	}
	slices.Sort(all)
	return all[(len(all)-1)/2]
}

func (f fixture) edition(dir, paths, name string, format image.Format) Edition {
	f.Helper()
	output := filepath.Join(dir, name+"."+string(format))
	e, err := PackEdition(context.Background(), filepath.Join(paths, name), f.debian(), output, format)
	if err != nil {
		f.Fatal(err)
	}
	fmt.Fprintf(os.Stderr, "%s: %d bytes in %v\n", filepath.Base(output), e.Size, e.Took)
	return e
}

// bootEdition boots an edition to multi-user.
func (f fixture) bootEdition(e Edition, initrd string) EditionBoot {
	f.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	m, err := vm.Start(ctx, vm.Config{
		Kernel: f.one("boot/vmlinuz-*"), Initrds: []string{initrd}, Image: e.Path, Init: system.DebianPrepareRoot,
		Append: "loglevel=4 boot.fail_timeout=1", Memory: 2048, Direct: true,
	})
	if err != nil {
		f.Fatal(err)
	}
	defer m.Close()
	end, err := m.Wait(ctx)
	if err == nil && end != vm.PowerOff {
		err = fmt.Errorf("the machine ended by %s", end)
	}
	var boot EditionBoot
	if err == nil {
		boot, err = ParseEdition(m.Console())
	}
	if err != nil {
		f.Fatalf("%v\n--- console ---\n%s\n--- to see it again ---\n%s", err, m.Console(), m.Command())
	}
	return boot
}
