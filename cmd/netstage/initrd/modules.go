package initrd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"netstage/stage1/kmod"
)

// addModules puts the chosen modules, their index and their firmware in.
func addModules(ctx context.Context, a *archive, o Options, r *Report) error {
	t, err := openTree(o.KernelModules)
	if err != nil {
		return err
	}
	roots, builtin, err := t.roots(ctx, o)
	if err != nil {
		return err
	}
	modules, err := t.close(ctx, roots)
	if err != nil {
		return err
	}
	r.Builtin = builtin
	if r.Version, err = version(modules); err != nil {
		return err
	}
	if r.Version == "" { // no module at all is left
		r.Version = filepath.Base(o.KernelModules)
	}
	dir := path.Join("lib/modules", r.Version)
	index := make([]kmod.Module, 0, len(modules))
	for _, m := range modules {
		a.file(path.Join(dir, filepath.ToSlash(m.Path)), 0o644, m.data)
		index = append(index, m.Module)
		r.Modules = append(r.Modules, m.Name)
	}
	slices.Sort(r.Modules)
	if err := addIndex(a, dir, t, index); err != nil {
		return err
	}
	if err := addUnpacked(ctx, a, dir, t, r.Modules); err != nil {
		return err
	}
	return addFirmware(a, o.FirmwareDir, modules, o.FirmwareFiles, r)
}

// addIndex writes depmod's files for the chosen modules.
func addIndex(a *archive, dir string, t *tree, index []kmod.Module) error {
	builtinText, inKernel := t.builtin()
	var dep, alias, softdep bytes.Buffer
	missing, err := kmod.WriteDep(&dep, index)
	missing = slices.DeleteFunc(missing, func(s string) bool {
		_, needed, _ := strings.Cut(s, " needs ")
		return inKernel[needed]
	})
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("modules are missing from %s: %s: give the whole folder of one kernel", t.dir, strings.Join(missing, ", "))
	}
	if err := errors.Join(err, kmod.WriteAlias(&alias, index), kmod.WriteSoftdep(&softdep, index)); err != nil {
		return err
	}
	a.file(dir+"/modules.dep", 0o644, dep.Bytes())
	a.file(dir+"/modules.alias", 0o644, alias.Bytes())
	a.file(dir+"/modules.softdep", 0o644, softdep.Bytes())
	if len(builtinText) > 0 {
		a.file(dir+"/modules.builtin", 0o644, builtinText)
	}
	return nil
}

// addUnpacked writes what devices the NIC drivers drive that are not packed, so
// that a machine can say which one it lacks.
func addUnpacked(ctx context.Context, a *archive, dir string, t *tree, packed []string) error {
	names := slices.DeleteFunc(t.nics(), func(name string) bool { return slices.Contains(packed, name) })
	slices.Sort(names)
	modules, err := t.get(ctx, names)
	if err != nil {
		return err
	}
	var rest []kmod.Module
	for _, m := range modules {
		m := m.Module
		m.Aliases = slices.DeleteFunc(slices.Clone(m.Aliases), func(alias string) bool {
			bus, _, _ := strings.Cut(alias, ":")
			return !slices.Contains(kmod.NetworkBuses, bus)
		})
		rest = append(rest, m)
	}
	var text bytes.Buffer
	if err := kmod.WriteAlias(&text, rest); err != nil || text.Len() == 0 {
		return err
	}
	a.file(dir+"/"+kmod.UnpackedFile, 0o644, text.Bytes())
	return nil
}

// version returns the kernel version that all modules are built for: the
// first word of their vermagic, which is what uname -r will say.
func version(modules []*module) (string, error) {
	var first *module
	for _, m := range modules {
		switch {
		case m.Vermagic == "":
			return "", fmt.Errorf("module %s: it does not say which kernel it is for (no vermagic)", m.Path)
		case first == nil:
			first = m
		case m.Vermagic != first.Vermagic:
			return "", fmt.Errorf("modules of two kernels are mixed: %s is for %q, %s for %q: give a folder of one kernel, and build out-of-tree modules for it",
				first.Name, first.Vermagic, m.Name, m.Vermagic)
		}
	}
	if first == nil {
		return "", nil
	}
	v, _, _ := strings.Cut(first.Vermagic, " ")
	return v, nil
}
