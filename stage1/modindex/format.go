package modindex

import (
	"bufio"
	"io"
	"slices"
	"strings"
)

// Module is one module of an index to be written.
type Module struct {
	Path string // relative to lib/modules/VERSION
	ModInfo
}

// WriteDep writes modules.dep for the modules, as depmod does: every line
// names all that a module needs, directly and not, what must be loaded first
// last. A dependency that is not among the modules is left out and returned
// in missing as "NAME needs DEP".
func WriteDep(w io.Writer, modules []Module) (missing []string, err error) {
	byName := make(map[string]*Module, len(modules))
	for i := range modules {
		byName[modules[i].Name] = &modules[i]
	}
	out := bufio.NewWriter(w)
	for i := range modules {
		m := &modules[i]
		out.WriteString(m.Path + ":")
		order, lost := closure(byName, m)
		for _, dep := range slices.Backward(order) {
			out.WriteString(" " + dep.Path)
		}
		missing = append(missing, lost...)
		out.WriteByte('\n')
	}
	return missing, out.Flush()
}

// closure returns everything m needs, first to be loaded first, without m.
func closure(byName map[string]*Module, m *Module) (order []*Module, missing []string) {
	seen := map[string]bool{m.Name: true}
	var visit func(m *Module)
	visit = func(m *Module) {
		for _, d := range m.Depends {
			if seen[d] {
				continue
			}
			seen[d] = true
			dep := byName[d]
			if dep == nil {
				missing = append(missing, m.Name+" needs "+d)
				continue
			}
			visit(dep)
			order = append(order, dep)
		}
	}
	visit(m)
	return order, missing
}

// WriteAlias writes modules.alias for the modules.
func WriteAlias(w io.Writer, modules []Module) error {
	out := bufio.NewWriter(w)
	for _, m := range modules {
		for _, a := range m.Aliases {
			out.WriteString("alias " + a + " " + m.Name + "\n")
		}
	}
	return out.Flush()
}

// WriteSoftdep writes modules.softdep for the modules.
func WriteSoftdep(w io.Writer, modules []Module) error {
	out := bufio.NewWriter(w)
	for _, m := range modules {
		for _, d := range m.Softdeps {
			d.Module = m.Name
			out.WriteString(formatSoftdep(d))
		}
	}
	return out.Flush()
}

func formatSoftdep(d Softdep) string {
	s := "softdep " + d.Module
	if len(d.Pre) > 0 {
		s += " pre: " + strings.Join(d.Pre, " ")
	}
	if len(d.Post) > 0 {
		s += " post: " + strings.Join(d.Post, " ")
	}
	return s + "\n"
}
