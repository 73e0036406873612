package initrd

import (
	"context"
	"slices"
	"strings"
)

// close adds everything the roots need: dependencies, soft and weak ones, and
// the USB controllers where a USB device's driver is among them.
func (t *tree) close(ctx context.Context, roots []string) ([]*module, error) {
	chosen := map[string]bool{}
	var all []*module
	for wave := roots; len(wave) > 0; {
		for _, n := range wave {
			chosen[n] = true
		}
		modules, err := t.get(ctx, wave)
		if err != nil {
			return nil, err
		}
		all = append(all, modules...)
		var next []string
		for _, m := range modules {
			needs, err := t.needs(ctx, m)
			if err != nil {
				return nil, err
			}
			next = append(next, needs...)
		}
		slices.Sort(next)
		next = slices.Compact(next)
		wave = slices.DeleteFunc(next, func(n string) bool { return chosen[n] || t.paths[n] == "" })
	}
	slices.SortFunc(all, func(a, b *module) int { return strings.Compare(a.Path, b.Path) })
	return all, nil
}

func (t *tree) needs(ctx context.Context, m *module) ([]string, error) {
	needs := slices.Clone(m.Depends)
	soft := slices.Clone(m.Weakdeps)
	for _, d := range m.Softdeps {
		soft = append(append(soft, d.Pre...), d.Post...)
	}
	for _, s := range soft {
		names, err := t.lookup(ctx, s)
		if err != nil {
			return nil, err
		}
		needs = append(needs, names...)
	}
	onUSB := m.isNIC() && slices.ContainsFunc(m.Aliases, func(alias string) bool { return strings.HasPrefix(alias, "usb:") })
	if onUSB || strings.Contains(m.Path, "/drivers/net/usb/") {
		needs = append(needs, t.below(busFolders)...)
	}
	if m.Name == "hv_netvsc" {
		needs = append(needs, "pci_hyperv")
	}
	return needs, nil
}
