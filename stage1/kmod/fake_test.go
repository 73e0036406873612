package kmod

import (
	"bytes"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"netstage/debug/sentence"
	"netstage/stage1/modindex"
)

// writeTree writes files below a temporary folder and returns it.
func writeTree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[name]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// moduleTree makes a lib/modules/VERSION from modules.dep's text, and an empty
// file for each module, whose content is its name.
func moduleTree(t *testing.T, dep string, more map[string]string) string {
	t.Helper()
	files := map[string]string{"modules.dep": dep}
	for line := range strings.Lines(dep) {
		path, _, _ := strings.Cut(line, ":")
		files[path] = modindex.Name(path)
	}
	maps.Copy(files, more)
	return writeTree(t, files)
}

// fakeKernel stands for finit_module: it knows modules by their content.
type fakeKernel struct {
	mu     sync.Mutex
	loaded []string
	params map[string]string
	flags  map[string]int
	needs  map[string][]string // fails with ENOENT when these are not in yet
	fail   map[string]unix.Errno
	onLoad func(name string)
}

func (k *fakeKernel) finit(fd int, params string, flags int) error {
	var buf [256]byte
	n, err := unix.Pread(fd, buf[:], 0)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	name := string(buf[:n])
	if flags&initCompressed != 0 {
		name = "compressed"
	}
	if k.params == nil {
		k.params, k.flags = map[string]string{}, map[string]int{}
	}
	k.params[name], k.flags[name] = params, flags
	if e := k.fail[name]; e != 0 {
		return e
	}
	for _, d := range k.needs[name] {
		if !slices.Contains(k.loaded, d) {
			return unix.ENOENT
		}
	}
	if slices.Contains(k.loaded, name) {
		return unix.EEXIST
	}
	k.loaded = append(k.loaded, name)
	if k.onLoad != nil {
		k.onLoad(name)
	}
	return nil
}

func (k *fakeKernel) names() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Sorted(slices.Values(k.loaded))
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newTestLoader opens a tree with a fake kernel below it; sysfs is empty.
func newTestLoader(t *testing.T, dir string, k *fakeKernel) (*Loader, *logBuffer) {
	t.Helper()
	ix, err := modindex.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	log := &logBuffer{}
	l := NewLoader(ix, slog.New(sentence.NewHandler(slog.LevelDebug, sentence.To(log))))
	l.in.finit = k.finit
	l.in.sysfs, l.sysfs = t.TempDir(), t.TempDir()
	t.Cleanup(func() { l.Close() })
	return l, log
}
