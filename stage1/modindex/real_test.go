package modindex

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// kernelTrees returns the lib/modules/VERSION folders of unpacked distribution
// kernels; the Makefile puts them into build/kernels.
func kernelTrees(t testing.TB) []string {
	t.Helper()
	root := os.Getenv("NETSTAGE_KERNELS")
	if root == "" {
		root = "../../build/kernels"
	}
	trees, _ := filepath.Glob(filepath.Join(root, "*/lib/modules/*"))
	if len(trees) == 0 {
		t.Skip("no kernels in build/kernels or $NETSTAGE_KERNELS")
	}
	return trees
}

// depmod indexes a tree into a folder of its own and returns that folder's
// root, for modprobe -d, and lib/modules/VERSION in it.
func depmod(t testing.TB, tree string) (root, dir string) {
	t.Helper()
	if _, err := exec.LookPath("depmod"); err != nil {
		t.Skip("depmod is not installed (package kmod)")
	}
	root, version := t.TempDir(), filepath.Base(tree)
	dir = filepath.Join(root, "lib/modules", version)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	tree, err := filepath.Abs(tree)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kernel", "modules.order", "modules.builtin", "modules.builtin.modinfo"} {
		if err := os.Symlink(filepath.Join(tree, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("depmod", "-b", root, version).CombinedOutput(); err != nil {
		t.Fatalf("depmod: %v\n%s", err, out)
	}
	return root, dir
}

func TestRealKernels(t *testing.T) {
	for _, tree := range kernelTrees(t) {
		t.Run(filepath.Base(tree), func(t *testing.T) {
			t.Parallel()
			root, dir := depmod(t, tree)
			ix, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			t.Run("order is modprobe's", func(t *testing.T) { testOrder(t, root, ix) })
			t.Run("aliases as by a linear search", func(t *testing.T) { testAliases(t, dir) })
		})
	}
}

// testOrder asks kmod's own modprobe about every driver below drivers/net and
// compares the whole order.
func testOrder(t *testing.T, root string, ix *Index) {
	// The host's own configuration is kept out; -C hides also the tree's
	// modules.softdep, so it goes in as configuration.
	config := t.TempDir()
	if err := os.Symlink(filepath.Join(ix.Dir(), "modules.softdep"), filepath.Join(config, "softdep.conf")); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, name := range ix.Names() {
		if path, _ := ix.Path(name); strings.Contains(path, "/drivers/net/") && name != sentinel {
			names = append(names, name)
		}
	}
	if len(names) < 30 {
		t.Fatalf("only %d drivers in %s", len(names), ix.Dir())
	}
	want := showDepends(t, names, "-C", config, "-d", root, "-S", filepath.Base(ix.Dir()), "-D", "-a")
	for _, name := range names {
		got, err := ix.Resolve(name)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want[name], got); diff != "" {
			t.Errorf("%s (-modprobe +ours):\n%s", name, diff)
		}
	}
}

// sentinel is a module that needs nothing. It parts the answers of one
// modprobe process, which is much faster than a process for each driver.
const sentinel = "dummy"

func showDepends(t *testing.T, names []string, args ...string) map[string][]string {
	t.Helper()
	for _, n := range names {
		args = append(args, n, sentinel)
	}
	out, err := exec.Command("modprobe", args...).Output()
	if err != nil {
		t.Fatalf("modprobe: %v", err)
	}
	answers := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "insmod" || len(names) == 0 {
			t.Fatalf("modprobe answers %q", line)
		}
		if Name(f[1]) == sentinel {
			names = names[1:]
		} else if n := names[0]; !slices.Contains(answers[n], f[1]) {
			answers[n] = append(answers[n], f[1])
		}
	}
	return answers
}

// testAliases turns alias patterns of the kernel into modaliases they match,
// and compares the buckets' answer with a search of all lines.
func testAliases(t *testing.T, dir string) {
	text, err := os.ReadFile(filepath.Join(dir, "modules.alias"))
	if err != nil {
		t.Fatal(err)
	}
	table := newAliasTable(string(text))
	if lines := bytes.Count(text, []byte("\nalias ")); len(table.lines) < lines {
		t.Fatalf("%d of %d lines indexed", len(table.lines), lines)
	}
	every := max(1, len(table.lines)/1500)
	for i := 0; i < len(table.lines); i += every {
		pattern, _ := table.line(int32(i))
		query := example(pattern)
		if !Match(pattern, query) {
			t.Fatalf("%q does not match %q", pattern, query)
		}
		if diff := cmp.Diff(linear(table, query), table.lookup(query)); diff != "" {
			t.Fatalf("%s (-linear +buckets):\n%s", query, diff)
		}
	}
}

// example makes a string that a pattern matches.
func example(pattern string) string {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case '*':
			fmt.Fprintf(&b, "%02X", i)
		case '?':
			b.WriteByte('0')
		case '[':
			b.WriteByte(pattern[i+1])
			i += strings.IndexByte(pattern[i:], ']')
		default:
			b.WriteByte(pattern[i])
		}
	}
	return b.String()
}

func linear(t *aliasTable, query string) []string {
	var names []string
	for i := range t.lines {
		pattern, module := t.line(int32(i))
		if name := Name(module); Match(pattern, query) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// BenchmarkColdplug is the index's part of a boot: read everything and look
// some hundred devices up.
func BenchmarkColdplug(b *testing.B) {
	trees := kernelTrees(b)
	_, dir := depmod(b, trees[len(trees)-1])
	b.Logf("index of %s", filepath.Base(dir))
	for b.Loop() {
		ix, err := Open(dir)
		if err != nil {
			b.Fatal(err)
		}
		for i := range 300 {
			_, _ = ix.Lookup(fmt.Sprintf("pci:v00008086d%08Xsv00000000sd00000000bc02sc00i00", 0x1000+i))
			_, _ = ix.Lookup(fmt.Sprintf("acpi:PNP%04X:PNP0C0%d:", i, i%10))
		}
		if _, err := ix.Order("mlx5_core"); err != nil {
			b.Fatal(err)
		}
	}
}
