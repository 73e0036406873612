package modindex

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// ConfigDirs is where modprobe.d files are looked for, first wins (kmod:
// libkmod/libkmod.c).
var ConfigDirs = [...]string{"/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d"}

// Config is what modprobe.d(5) and the kernel command line say about modules.
// The zero value says nothing. It is filled first and only read later.
type Config struct {
	aliases   []configAlias
	blacklist map[string]bool
	options   []configOption // in the order in which they were given
	installs  map[string]string
	softdeps  []Softdep
}

type configAlias struct{ pattern, module string }

// A configOption has parameters for a module, or for whatever is loaded by an
// alias.
type configOption struct{ name, params string }

// ReadConfigDirs reads *.conf of the folders, sorted by file name; a name in
// an earlier folder hides the same one in a later. Missing folders are fine.
// The configuration is usable also when an error says what could not be read.
func ReadConfigDirs(dirs ...string) (*Config, error) {
	c := &Config{}
	paths := map[string]string{}
	var errs []error
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("module configuration: %w", err))
		}
		for _, e := range entries {
			name := e.Name()
			if strings.HasSuffix(name, ".conf") && paths[name] == "" {
				paths[name] = filepath.Join(dir, name)
			}
		}
	}
	names := make([]string, 0, len(paths))
	for name := range paths {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		f, err := os.Open(paths[name])
		if err == nil {
			err = c.Read(f)
			f.Close()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("module configuration: %s: %w", paths[name], err))
		}
	}
	return c, errors.Join(errs...)
}

// Read adds the lines of one modprobe.d file. Unknown commands are passed
// over, as kmod does.
func (c *Config) Read(r io.Reader) error {
	text, err := io.ReadAll(r)
	for line := range strings.SplitSeq(strings.ReplaceAll(string(text), "\\\n", ""), "\n") {
		c.line(strings.Trim(line, " \t\r\\"))
	}
	return err
}

func (c *Config) line(line string) {
	command, rest := cutWord(line)
	if rest == "" || strings.HasPrefix(command, "#") {
		return
	}
	subject, value := cutWord(rest)
	name := underscores(subject)
	switch command {
	case "alias":
		if module, _ := cutWord(value); module != "" {
			c.aliases = append(c.aliases, configAlias{subject, Name(module)})
		}
	case "blacklist":
		c.Blacklist(subject)
	case "options":
		c.SetParams(name, value)
	case "install":
		if value != "" && c.installs[name] == "" { // the first one counts
			if c.installs == nil {
				c.installs = map[string]string{}
			}
			c.installs[name] = value
		}
	case "softdep":
		if d, ok := ParseSoftdep(rest); ok {
			c.softdeps = append(c.softdeps, d)
		}
	}
}

// Blacklist keeps modules from being loaded for a device or by an alias; by
// their own name they still load. Several names may be joined by commas, as in
// modprobe.blacklist=a,b of the kernel command line.
func (c *Config) Blacklist(names ...string) {
	for _, list := range names {
		for n := range strings.SplitSeq(list, ",") {
			if n = strings.TrimSpace(n); n == "" {
				continue
			}
			if c.blacklist == nil {
				c.blacklist = map[string]bool{}
			}
			c.blacklist[Name(n)] = true
		}
	}
}

// SetParams adds parameters ("a=1 b=2") that a module gets when it is loaded,
// or whatever is loaded by an alias.
func (c *Config) SetParams(name, params string) {
	if params = strings.TrimSpace(params); params != "" {
		c.options = append(c.options, configOption{underscores(name), params})
	}
}

// underscores makes '-' of a name or an alias '_', but in brackets.
func underscores(s string) string {
	inside := false
	return strings.Map(func(r rune) rune {
		switch {
		case r == '[':
			inside = true
		case r == ']':
			inside = false
		case r == '-' && !inside:
			return '_'
		}
		return r
	}, s)
}

// KernelParam takes one key=value of the kernel command line where it is for a
// module: "modprobe.blacklist=a,b" or "e1000e.debug=3" ("e1000e.flag" when
// there is no value). It says whether it took it. One with control characters
// could be taken for several lines by who reads what WriteTo writes.
func (c *Config) KernelParam(key, value string, hasValue bool) bool {
	if strings.ContainsFunc(key+value, unicode.IsControl) {
		return false
	}
	if key == "modprobe.blacklist" {
		c.Blacklist(value)
		return true
	}
	module, param, ok := strings.Cut(key, ".")
	if !ok || module == "" || param == "" {
		return false
	}
	if hasValue {
		if strings.ContainsAny(value, " \t") {
			value = `"` + value + `"`
		}
		param += "=" + value
	}
	c.SetParams(module, param)
	return true
}

// WriteTo writes the configuration as one modprobe.d file, so that another
// process (the modprobe that the kernel starts) sees the same.
func (c *Config) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	for _, a := range c.aliases {
		fmt.Fprintf(&b, "alias %s %s\n", a.pattern, a.module)
	}
	for _, name := range sortedKeys(c.blacklist) {
		fmt.Fprintf(&b, "blacklist %s\n", name)
	}
	for _, o := range c.options {
		fmt.Fprintf(&b, "options %s %s\n", o.name, o.params)
	}
	for _, name := range sortedKeys(c.installs) {
		fmt.Fprintf(&b, "install %s %s\n", name, c.installs[name])
	}
	for _, d := range c.softdeps {
		b.WriteString(formatSoftdep(d))
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Params is what a module is loaded with, where it is asked for by an alias or
// "" (kmod: libkmod/libkmod-module.c, kmod_module_get_options).
func (c *Config) Params(module, alias string) string {
	alias = underscores(alias)
	var all []string
	for _, o := range c.options {
		if o.name == module || alias != "" && o.name == alias {
			all = append(all, o.params)
		}
	}
	return strings.Join(all, " ")
}

// Install is the command that is to load a module in the kernel's place, "" for
// none.
func (c *Config) Install(module string) string { return c.installs[module] }

func cutWord(s string) (word, rest string) {
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimSpace(s[i:])
}
