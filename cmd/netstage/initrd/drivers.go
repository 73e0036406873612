package initrd

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"netstage/stage1/modindex"
)

// Kernel is the modules of a kernel, to be asked what they drive.
type Kernel struct {
	t       *tree
	builtin *modindex.Index
}

// OpenKernel opens a lib/modules/VERSION folder, with depmod's files or
// without.
func OpenKernel(dir string) (*Kernel, error) {
	t, err := openTree(dir)
	if err != nil {
		return nil, err
	}
	k := &Kernel{t: t, builtin: t.index}
	if k.builtin == nil {
		k.builtin = modindex.OpenBuiltin(dir)
	}
	return k, nil
}

// A Driver is a module, or a part of the kernel, that drives a device.
type Driver struct {
	Module  string   // its name; empty where it is known only that the kernel has it built in
	Builtin bool     // it is part of the kernel
	Network bool     // it is one of network devices
	Needs   []string // the other modules that it takes, sorted
}

// Drivers returns what drives the device of a modalias; a module's name will do
// as well. It is empty where no module does, and what is built in does not
// tell.
func (k *Kernel) Drivers(ctx context.Context, alias string) ([]Driver, error) {
	names, err := k.t.lookup(ctx, alias)
	if err != nil {
		return nil, err
	}
	var all []Driver
	for _, name := range names {
		modules, err := k.t.close(ctx, []string{name})
		if err != nil {
			return nil, err
		}
		d := Driver{Module: name, Network: slices.ContainsFunc(k.t.places[name], func(path string) bool {
			return strings.Contains(filepath.ToSlash(path), "drivers/net/")
		})}
		for _, m := range modules {
			if m.Name == name {
				d.Network = d.Network || m.isNIC()
			} else {
				d.Needs = append(d.Needs, m.Name)
			}
		}
		slices.Sort(d.Needs)
		all = append(all, d)
	}
	if len(all) > 0 {
		return all, nil
	}
	if _, inKernel := k.t.builtin(); inKernel[modindex.Name(alias)] {
		return []Driver{{Module: modindex.Name(alias), Builtin: true}}, nil
	}
	if k.builtin.Builtin(alias) {
		return []Driver{{Builtin: true}}, nil
	}
	// Built-in drivers tell their names, and in many kernels not what they
	// drive. Virtual machines have this one.
	if _, inKernel := k.t.builtin(); strings.HasPrefix(alias, "pci:v00001AF4") && inKernel["virtio_pci"] {
		return []Driver{{Module: "virtio_pci", Builtin: true}}, nil
	}
	return nil, nil
}
