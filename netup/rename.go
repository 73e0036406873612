package netup

import (
	"fmt"
	"log/slog"
	"slices"

	"github.com/vishvananda/netlink"

	"netstage/netup/ipparam"
)

// renaming gives links the names of ifname=. Links to be renamed swap their
// names by way of a third one.
type renaming struct {
	plan plan
	log  *slog.Logger
	used func(index int) bool // links that keep their name: they are in the race
}

// run renames the links of a list, before any of them is set up, and notes
// their names in it.
func (r renaming) run(links []netlink.Link) {
	if len(r.plan.Names) == 0 {
		return
	}
	for _, nl := range links {
		a := nl.Attrs()
		want := r.plan.rename(a.HardwareAddr)
		if want == "" || want == a.Name || r.used(a.Index) {
			continue
		}
		if holder, err := netlink.LinkByName(want); err == nil && holder.Attrs().Index != a.Index && !r.used(holder.Attrs().Index) {
			aside := r.aside(holder)
			r.rename(holder, aside)
			if i := slices.IndexFunc(links, func(l netlink.Link) bool { return l.Attrs().Index == holder.Attrs().Index }); i >= 0 {
				links[i].Attrs().Name = holder.Attrs().Name
			}
		}
		r.rename(nl, want)
	}
}

func (r renaming) rename(nl netlink.Link, want string) {
	a := nl.Attrs()
	r.log.Info(fmt.Sprintf("%s: renamed to %s", a.Name, want))
	if err := netlink.LinkSetName(nl, want); err != nil {
		r.log.Warn(fmt.Sprintf("%s: rename to %s: %v", a.Name, want, err))
		return
	}
	a.Name = want
}

// aside is a free name for a link whose name another one is to have: one that
// it has for a moment where ifname= names it, else the next free ethN.
func (r renaming) aside(nl netlink.Link) string {
	if r.plan.rename(nl.Attrs().HardwareAddr) != "" {
		return fmt.Sprintf("rename%d", nl.Attrs().Index)
	}
	for n := 0; ; n++ {
		name := fmt.Sprintf("eth%d", n)
		named := slices.ContainsFunc(r.plan.Names, func(o ipparam.Name) bool { return o.Name == name })
		if _, err := netlink.LinkByName(name); err != nil && !named {
			return name
		}
	}
}
