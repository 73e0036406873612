package initrd

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"netstage/stage1/kmod"
	"netstage/stage1/modindex"
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
	if err := sameMachine(o.Init, a.agent, modules); err != nil {
		return err
	}
	if r.Version, r.Foreign, err = version(modules, filepath.Base(o.KernelModules)); err != nil {
		return err
	}
	dir := path.Join("lib/modules", r.Version)
	index := make([]modindex.Module, 0, len(modules))
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
func addIndex(a *archive, dir string, t *tree, index []modindex.Module) error {
	builtinText, inKernel := t.builtin()
	var dep, alias, softdep bytes.Buffer
	missing, err := modindex.WriteDep(&dep, index)
	missing = slices.DeleteFunc(missing, func(s string) bool {
		_, needed, _ := strings.Cut(s, " needs ")
		return inKernel[needed]
	})
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("modules are missing from %s: %s: give the whole folder of one kernel", t.dir, strings.Join(missing, ", "))
	}
	if err := errors.Join(err, modindex.WriteAlias(&alias, index), modindex.WriteSoftdep(&softdep, index)); err != nil {
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
	nics, err := t.nics(ctx)
	if err != nil {
		return err
	}
	names := slices.DeleteFunc(nics, func(name string) bool { return slices.Contains(packed, name) })
	modules, err := t.get(ctx, names)
	if err != nil {
		return err
	}
	var rest []modindex.Module
	for _, m := range modules {
		m := m.Module
		m.Aliases = slices.DeleteFunc(slices.Clone(m.Aliases), func(alias string) bool {
			bus, _, _ := strings.Cut(alias, ":")
			return !slices.Contains(kmod.NetworkBuses, bus)
		})
		rest = append(rest, m)
	}
	var text bytes.Buffer
	if err := modindex.WriteAlias(&text, rest); err != nil || text.Len() == 0 {
		return err
	}
	a.file(dir+"/"+modindex.UnpackedFile, 0o644, text.Bytes())
	return nil
}

// version returns the release of the kernel that the modules are for, as uname
// -r will say it: the first word of their vermagic. Modules of another release
// are named, where the kernel takes them: it checks the versions of symbols
// instead of the release, and all else of the vermagic is the same
// (kernel/module/ version.c: same_magic).
func version(modules []*module, folder string) (release string, foreign []string, err error) {
	release, count := folder, map[string]int{}
	for _, m := range modules {
		if m.Vermagic == "" {
			return "", nil, fmt.Errorf("module %s: it does not say which kernel it is for (no vermagic)", m.Path)
		}
		count[m.release()]++
	}
	if len(modules) > 0 && count[folder] == 0 {
		release = modules[0].release()
		for other, n := range count {
			if n > count[release] || n == count[release] && other < release {
				release = other
			}
		}
	}
	var first *module // of this release
	for _, m := range modules {
		if m.release() == release && first == nil {
			first = m
		}
	}
	for _, m := range modules {
		_, want, _ := strings.Cut(first.Vermagic, " ")
		_, have, _ := strings.Cut(m.Vermagic, " ")
		switch {
		case m.Vermagic == first.Vermagic:
		case have == want && slices.Contains(strings.Fields(want), "modversions"):
			foreign = append(foreign, m.Name+": for "+m.release())
		default:
			return "", nil, fmt.Errorf("modules of two kernels are mixed: %s is for %q, %s for %q: give a folder of one kernel, and build out-of-tree modules for it",
				first.Name, first.Vermagic, m.Name, m.Vermagic)
		}
	}
	return release, foreign, nil
}

func (m *module) release() string {
	release, _, _ := strings.Cut(m.Vermagic, " ")
	return release
}

// sameMachine refuses an agent that the modules' kernel can't start. A script
// runs on any.
func sameMachine(name string, agent []byte, modules []*module) error {
	program, err := elf.NewFile(bytes.NewReader(agent))
	if err != nil || len(modules) == 0 || program.Machine == modules[0].machine {
		return nil
	}
	want := modules[0].machine
	arch := map[elf.Machine]string{elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64", elf.EM_RISCV: "riscv64", elf.EM_PPC64: "ppc64le"}[want]
	return fmt.Errorf("the agent %s is a program for %s, and the modules are for %s: build the other agent by GOARCH=%s cmd/stage1/build.sh FILE, and give it by --init FILE",
		name, program.Machine, want, arch)
}
