package plan

import (
	"fmt"
	"log/slog"
	"slices"

	"github.com/vishvananda/netlink"

	"netstage/netup/ipparam"
)

// Renaming gives links the names of ifname=. Links to be renamed swap their
// names by way of a third one.
type Renaming struct {
	Plan Plan
	Log  *slog.Logger
	Used func(index int) bool // links that keep their name: they are in the race
}

// Run renames the links of a list, before any of them is set up, and notes
// their names in it.
func (r Renaming) Run(links []netlink.Link) {
	if len(r.Plan.Names) == 0 {
		return
	}
	for _, nl := range links {
		a := nl.Attrs()
		want := r.Plan.Rename(a.HardwareAddr)
		if want == "" || want == a.Name || r.Used(a.Index) {
			continue
		}
		if holder, err := netlink.LinkByName(want); err == nil && holder.Attrs().Index != a.Index && !r.Used(holder.Attrs().Index) {
			aside := r.spareName(holder)
			r.rename(holder, aside)
			if i := slices.IndexFunc(links, func(l netlink.Link) bool { return l.Attrs().Index == holder.Attrs().Index }); i >= 0 {
				links[i].Attrs().Name = holder.Attrs().Name
			}
		}
		r.rename(nl, want)
	}
}

func (r Renaming) rename(nl netlink.Link, want string) {
	a := nl.Attrs()
	log := r.Log.With("link", a.Name)
	log.Info("renamed to " + want)
	if err := netlink.LinkSetName(nl, want); err != nil {
		log.Warn("rename to "+want, "err", err)
		return
	}
	a.Name = want
}

// spareName is a free name for a link whose name another one is to have: one that
// it has for a moment where ifname= names it, else the next free ethN.
func (r Renaming) spareName(nl netlink.Link) string {
	if r.Plan.Rename(nl.Attrs().HardwareAddr) != "" {
		return fmt.Sprintf("rename%d", nl.Attrs().Index)
	}
	for n := 0; ; n++ {
		name := fmt.Sprintf("eth%d", n)
		named := slices.ContainsFunc(r.Plan.Names, func(o ipparam.Name) bool { return o.Name == name })
		if _, err := netlink.LinkByName(name); err != nil && !named {
			return name
		}
	}
}
