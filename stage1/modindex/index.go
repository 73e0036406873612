package modindex

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"netstage/stage1/fault"
)

// UnpackedFile is a file in the form of modules.alias beside depmod's: which
// devices the NIC drivers drive that the kernel has and the initrd has not.
const UnpackedFile = "modules.alias.unpacked"

// ErrNotFound is wrapped by every error that says that a name or an alias
// matches no module.
var ErrNotFound = errors.New("no such module")

// Index answers which modules a name or an alias stands for and what they
// need. It reads each of depmod's text files when it is first asked for
// something in it. It may be used from several goroutines.
type Index struct {
	dir    string
	config *Config

	deps     func() *depTable
	aliases  func() *aliasTable
	unpacked func() *aliasTable
	symbols  func() *aliasTable
	softdeps func() []Softdep
	builtin  func() *builtinTable
}

// builtinTable is what is part of the kernel itself.
type builtinTable struct {
	names   map[string]bool
	aliases *aliasTable
}

// Open reads the index in dir, a lib/modules/VERSION folder. Only modules.dep
// must be there; the error says so otherwise.
func Open(dir string) (*Index, error) {
	dep, err := os.ReadFile(filepath.Join(dir, "modules.dep"))
	if err != nil {
		hint := ""
		if errors.Is(err, fs.ErrNotExist) {
			hint = " (run depmod, or pack the modules of the kernel that runs)"
		}
		return nil, fmt.Errorf("module index: %w%s", err, hint)
	}
	return newIndex(dir, string(dep), readerOf(dir)), nil
}

// OpenBuiltin is Open for a folder in which depmod has not been run: the index
// knows what is built in, for that is the kernel's own files, and no module.
func OpenBuiltin(dir string) *Index { return newIndex(dir, "", readerOf(dir)) }

func readerOf(dir string) func(name string) string {
	return func(name string) string {
		text, _ := os.ReadFile(filepath.Join(dir, name)) // absent in many trees
		return string(text)
	}
}

// newIndex is Open with the files' texts from read.
func newIndex(dir, dep string, read func(name string) string) *Index {
	return &Index{
		dir:      dir,
		config:   &Config{},
		deps:     sync.OnceValue(func() *depTable { return newDepTable(dep) }),
		aliases:  sync.OnceValue(func() *aliasTable { return newAliasTable(read("modules.alias")) }),
		unpacked: sync.OnceValue(func() *aliasTable { return newAliasTable(read(UnpackedFile)) }),
		symbols:  sync.OnceValue(func() *aliasTable { return newAliasTable(read("modules.symbols")) }),
		softdeps: sync.OnceValue(func() []Softdep { return parseSoftdeps(read("modules.softdep")) }),
		builtin: sync.OnceValue(func() *builtinTable {
			t := &builtinTable{names: map[string]bool{}}
			for line := range strings.Lines(read("modules.builtin")) {
				if line = strings.TrimSpace(line); line != "" {
					t.names[Name(line)] = true
				}
			}
			t.aliases = newAliasTable(builtinAliases(read("modules.builtin.modinfo")))
			return t
		}),
	}
}

// Use makes the index obey a configuration. Call it before anything else.
func (ix *Index) Use(c *Config) {
	if c != nil {
		ix.config = c
	}
}

// Config is the configuration that the index obeys.
func (ix *Index) Config() *Config { return ix.config }

// Dir is the folder the index describes.
func (ix *Index) Dir() string { return ix.dir }

// Names returns every module of the index, in its order.
func (ix *Index) Names() []string { return slices.Clone(ix.deps().names) }

// Path returns the file of a module, by its name.
func (ix *Index) Path(name string) (string, bool) {
	path, _, ok := ix.deps().get(Name(name))
	if !ok {
		return "", false
	}
	return ix.abs(path), true
}

func (ix *Index) abs(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(ix.dir, path)
}

// Depends returns the names of the modules that a module needs, directly and
// not; what must be loaded first comes first.
func (ix *Index) Depends(name string) []string {
	_, paths, _ := ix.deps().get(Name(name))
	names := make([]string, 0, len(paths))
	for _, p := range slices.Backward(paths) {
		names = append(names, Name(p))
	}
	return names
}

// Unpacked returns the modules for a modalias that UnpackedFile names.
func (ix *Index) Unpacked(modalias string) []string { return ix.unpacked().lookup(modalias) }

// Builtin says whether a name or an alias is known to be part of the kernel.
// A tree without modules.builtin knows of none.
func (ix *Index) Builtin(nameOrAlias string) bool {
	t := ix.builtin()
	return t.names[Name(nameOrAlias)] || len(t.aliases.lookup(nameOrAlias)) > 0
}

// Lookup returns the names of the modules that a name or an alias stands for;
// none when it is built in or masked by a blacklist; an error that wraps
// ErrNotFound when nothing is known of it. The order of search is kmod's.
func (ix *Index) Lookup(nameOrAlias string) ([]string, error) {
	found, err := ix.Find(nameOrAlias)
	var names []string
	for _, t := range found {
		names = append(names, t.Name)
	}
	return names, err
}

// A Target is a module that is asked for, and by which alias.
type Target struct{ Name, Alias string }

// Find is Lookup with the alias of each, "" where it is by its own name.
func (ix *Index) Find(nameOrAlias string) ([]Target, error) {
	nameOrAlias = strings.TrimSpace(nameOrAlias)
	if found := ix.config.lookup(nameOrAlias); len(found) > 0 {
		return ix.Allowed(found), nil
	}
	if name := Name(nameOrAlias); !strings.Contains(nameOrAlias, ":") {
		if _, ok := ix.deps().lines[name]; ok || ix.config.installs[name] != "" {
			return []Target{{Name: name}}, nil
		}
	}
	table := ix.aliases
	if strings.HasPrefix(nameOrAlias, "symbol:") {
		table = ix.symbols
	}
	var known []Target
	for _, name := range table().lookup(nameOrAlias) {
		// An index may hold aliases of modules that were not packed.
		if _, ok := ix.deps().lines[name]; ok {
			known = append(known, Target{name, nameOrAlias})
		}
	}
	if len(known) > 0 {
		return ix.Allowed(known), nil
	}
	if ix.Builtin(nameOrAlias) {
		return nil, nil
	}
	return nil, notFound(nameOrAlias, ix.dir)
}

// notFound says that nothing in the index of dir is called name.
func notFound(name, dir string) error {
	return &fault.Error{
		Class: fault.NoModule, Cause: ErrNotFound,
		Text: fmt.Sprintf("no module %s in %s: pack it into the initrd", name, dir),
	}
}

// lookup returns what the configuration's aliases name, by their patterns.
func (c *Config) lookup(alias string) []Target {
	var found []Target
	for _, a := range c.aliases {
		if Match(a.pattern, alias) && !slices.ContainsFunc(found, func(t Target) bool { return t.Name == a.module }) {
			found = append(found, Target{a.module, a.pattern})
		}
	}
	return found
}

// Allowed drops what the blacklist names.
func (ix *Index) Allowed(found []Target) []Target {
	return slices.DeleteFunc(found, func(t Target) bool { return ix.config.blacklist[t.Name] })
}

// Soft returns the names that a module wishes to be loaded before and after
// it; what is not there is left out.
func (ix *Index) Soft(name string) (pre, post []string) {
	add := func(d Softdep) {
		if !Match(d.Module, name) {
			return
		}
		for _, p := range d.Pre {
			names, _ := ix.Lookup(p)
			pre = append(pre, names...)
		}
		for _, p := range d.Post {
			names, _ := ix.Lookup(p)
			post = append(post, names...)
		}
	}
	for _, d := range ix.config.softdeps {
		add(d)
	}
	for _, d := range ix.softdeps() {
		add(d)
	}
	return pre, post
}
