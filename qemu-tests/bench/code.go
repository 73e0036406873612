package bench

import (
	"cmp"
	"debug/elf"
	"debug/gosym"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// trust are the agent's packages without which it would boot whatever it is
// given, by what they are for.
var trust = []struct {
	what     string
	packages []string
}{
	{"manifests and their keys", []string{"netstage/fetch/manifest"}},
	{"verity trees and digests", []string{"netstage/fetch/verity", "netstage/fetch/verify", "netstage/fetch/vouch"}},
	{"measurements, quotes and serials", []string{"netstage/stage1/attest", "netstage/stage1/measure", "netstage/stage1/tpm", "netstage/stage1/tpm/wire", "netstage/stage1/serials", "netstage/stage1/efivar"}},
}

// CodeOf returns how many bytes of machine code a Go program has of each
// package, by the table that it has for its own stack traces.
func CodeOf(program string) (map[string]int64, error) {
	f, err := elf.Open(program)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, lines := f.Section(".text"), f.Section(".gopclntab")
	if text == nil || lines == nil {
		return nil, fmt.Errorf("%s: no program of Go's", program)
	}
	data, err := lines.Data()
	if err != nil {
		return nil, err
	}
	table, err := gosym.NewTable(nil, gosym.NewLineTable(data, text.Addr))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", program, err)
	}
	code := map[string]int64{}
	for _, fn := range table.Funcs {
		code[packageOf(fn.Name)] += int64(fn.End - fn.Entry)
	}
	return code, nil
}

// packageOf is the package of a function, whose name has dots behind it.
func packageOf(function string) string {
	function, _, _ = strings.Cut(function, "[") // of type parameters
	slash := strings.LastIndexByte(function, '/') + 1
	name, _, _ := strings.Cut(function[slash:], ".")
	return function[:slash] + name
}

// moduleOf is the module that a package is from; of the standard library, the
// folder.
func moduleOf(pkg string) string {
	parts := strings.Split(pkg, "/")
	switch host := parts[0]; {
	case host == "github.com" || host == "golang.org":
		return strings.Join(parts[:min(3, len(parts))], "/")
	case host == "net" && len(parts) > 1:
		return "net/" + parts[1]
	}
	return parts[0]
}

// largest are so many modules with the most code, and their bytes.
func largest(code map[string]int64, most int) []string {
	modules := map[string]int64{}
	for pkg, n := range code {
		modules[moduleOf(pkg)] += n
	}
	names := slices.SortedFunc(maps.Keys(modules), func(a, b string) int {
		return cmp.Or(cmp.Compare(modules[b], modules[a]), cmp.Compare(a, b))
	})
	var lines []string
	for _, name := range names[:min(most, len(names))] {
		lines = append(lines, fmt.Sprintf("%s %d", name, modules[name]))
	}
	return lines
}

// trustLines says what trust costs the agent, in bytes of its code.
func trustLines(code map[string]int64) ([]string, error) {
	var lines []string
	for _, t := range trust {
		n := int64(0)
		for _, p := range t.packages {
			if code[p] == 0 {
				return nil, fmt.Errorf("the agent has no code of %s", p)
			}
			n += code[p]
		}
		lines = append(lines, fmt.Sprintf("%d for %s", n, t.what))
	}
	return lines, nil
}
