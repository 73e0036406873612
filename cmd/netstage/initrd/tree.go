package initrd

import (
	"bytes"
	"cmp"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"netstage/stage1/modindex"
)

// tree is a lib/modules/VERSION folder of the host. What a module needs is
// read from the module itself, which is what depmod reads too; depmod's own
// files only save reading all modules when somebody asks for an alias.
type tree struct {
	dir    string
	paths  map[string]string   // name -> the path that counts, relative to dir
	places map[string][]string // name -> every path of that name
	index  *modindex.Index     // nil where depmod has not been run

	mu   sync.Mutex
	read map[string]*module
}

// module is a module file, decompressed.
type module struct {
	modindex.Module // Path without the suffix of its compression
	data            []byte
	machine         elf.Machine
	imports         map[string]bool // symbols of others that it uses
}

func openTree(dir string) (*tree, error) {
	t := &tree{dir: dir, paths: map[string]string{}, places: map[string][]string{}, read: map[string]*module{}}
	err := t.find("")
	if err == nil {
		err = t.choose()
	}
	if err != nil {
		return nil, fmt.Errorf("kernel modules: %w", err)
	}
	if len(t.paths) == 0 {
		return nil, fmt.Errorf("kernel modules: no .ko file below %s: give a lib/modules/VERSION folder", dir)
	}
	if _, err := os.Stat(filepath.Join(dir, "modules.dep")); err == nil {
		if t.index, err = modindex.Open(dir); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// find looks for modules in the folder rel of the tree. Links to folders are
// followed: in nixpkgs' modulesTree (kmod's aggregator.nix), kernel/ may be one
// into the kernel's own store path. Links in circles are an error, ELOOP.
func (t *tree) find(rel string) error {
	entries, err := os.ReadDir(filepath.Join(t.dir, rel))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := filepath.Join(rel, entry.Name())
		if modindex.IsModule(name) {
			info, err := os.Stat(filepath.Join(t.dir, name))
			if err == nil && info.Mode().IsRegular() { // else a link that leads nowhere
				t.places[modindex.Name(name)] = append(t.places[modindex.Name(name)], name)
			}
			continue
		}
		if rel == "" && (entry.Name() == "build" || entry.Name() == "source") {
			continue // kernel headers, where installed
		}
		info, err := os.Stat(filepath.Join(t.dir, name))
		if err == nil && info.IsDir() {
			err = t.find(name)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// searches is where depmod looks first (depmod.d(5), as distributions set it);
// what lies in none of these folders counts as kernel/.
var searches = []string{"updates", "extra", "kernel", "weak-updates"}

// choose settles which file of a name counts: the one that depmod chose, where
// modules.dep is there and the file is, else the first by depmod's order.
func (t *tree) choose() error {
	text, err := os.ReadFile(filepath.Join(t.dir, "modules.dep"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	chosen := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(line, ":")
		chosen[name] = true
	}
	rank := func(path string) int {
		if chosen[path] {
			return -1
		}
		first, _, _ := strings.Cut(filepath.ToSlash(path), "/")
		if at := slices.Index(searches, first); at >= 0 {
			return at
		}
		return slices.Index(searches, "kernel")
	}
	for name, places := range t.places {
		slices.SortFunc(places, func(a, b string) int {
			return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(a, b))
		})
		t.paths[name] = places[0]
	}
	return nil
}

// builtin returns the names in modules.builtin, where there is one.
func (t *tree) builtin() (text []byte, names map[string]bool) {
	text, _ = os.ReadFile(filepath.Join(t.dir, "modules.builtin"))
	names = map[string]bool{}
	for line := range strings.Lines(string(text)) {
		names[modindex.Name(strings.TrimSpace(line))] = true
	}
	return text, names
}

// get reads modules by name, in parallel, each once. Names that are no module
// are passed over.
func (t *tree) get(ctx context.Context, names []string) ([]*module, error) {
	all := make([]*module, len(names))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.NumCPU())
	for i, name := range names {
		path, ok := t.paths[name]
		if !ok {
			continue
		}
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			m, err := t.load(name, path)
			all[i] = m
			return err
		})
	}
	err := g.Wait()
	return slices.DeleteFunc(all, func(m *module) bool { return m == nil }), err
}

func (t *tree) load(name, path string) (*module, error) {
	t.mu.Lock()
	m := t.read[name]
	t.mu.Unlock()
	if m != nil {
		return m, nil
	}
	data, plain, err := readMaybeCompressed(filepath.Join(t.dir, path))
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", filepath.Join(t.dir, path), err)
	}
	m = &module{data: data}
	if err := m.look(); err != nil {
		return nil, fmt.Errorf("module %s: %w", filepath.Join(t.dir, path), err)
	}
	m.Path, m.Name = strings.TrimSuffix(path, filepath.Ext(path)), name
	if plain {
		m.Path = path
	}
	t.mu.Lock()
	t.read[name] = m
	t.mu.Unlock()
	return m, nil
}

// look reads what a module says of itself.
func (m *module) look() error {
	f, err := elf.NewFile(bytes.NewReader(m.data))
	if err != nil {
		return fmt.Errorf("no kernel module: %w", err)
	}
	s := f.Section(".modinfo")
	if s == nil {
		return errors.New("no kernel module: it has no .modinfo section")
	}
	text, err := s.Data()
	if err != nil {
		return fmt.Errorf(".modinfo: %w", err)
	}
	m.ModInfo, m.machine, m.imports = modindex.ParseModInfo(text), f.Machine, map[string]bool{}
	symbols, err := f.Symbols()
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		return fmt.Errorf("symbols: %w", err)
	}
	for _, symbol := range symbols {
		if symbol.Section == elf.SHN_UNDEF {
			m.imports[symbol.Name] = true
		}
	}
	return nil
}

// readMaybeCompressed reads a file, decompressed by what its name ends in.
func readMaybeCompressed(path string) (data []byte, plain bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	kind := modindex.CompressionOf(path)
	r, err := modindex.Decompress(f, kind)
	if err != nil {
		return nil, false, err
	}
	defer r.Close()
	data, err = io.ReadAll(r)
	return data, kind == "", err
}

// lookup returns the modules that a name or an alias stands for.
func (t *tree) lookup(ctx context.Context, nameOrAlias string) ([]string, error) {
	if name := modindex.Name(nameOrAlias); t.paths[name] != "" && !strings.Contains(nameOrAlias, ":") {
		return []string{name}, nil
	}
	if t.index != nil {
		names, err := t.index.Lookup(nameOrAlias)
		if errors.Is(err, modindex.ErrNotFound) {
			return nil, nil
		}
		return names, err
	}
	// Without depmod's files the modules must be asked. Words without a bus
	// are the crypto layer's, nearly always, and reading all takes seconds.
	if !strings.Contains(nameOrAlias, ":") {
		names, err := t.search(ctx, nameOrAlias, func(path string) bool {
			return strings.Contains(path, "/crypto/") || strings.HasPrefix(path, "kernel/lib/")
		})
		if err != nil || len(names) > 0 {
			return names, err
		}
	}
	return t.search(ctx, nameOrAlias, func(string) bool { return true })
}

// search reads the .modinfo of all modules whose path is wanted.
func (t *tree) search(ctx context.Context, alias string, wanted func(path string) bool) ([]string, error) {
	var names []string
	for name, path := range t.paths {
		if wanted(filepath.ToSlash(path)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	modules, err := t.get(ctx, names)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, m := range modules {
		if slices.ContainsFunc(m.Aliases, func(a string) bool { return modindex.Match(a, alias) }) {
			found = append(found, m.Name)
		}
	}
	return found, nil
}
