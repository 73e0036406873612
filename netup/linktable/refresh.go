package linktable

import (
	"fmt"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"netstage/netup/internal/rtnl"
)

// Refresh brings a table of links up to date when no Network does, age after
// it was made: carrier and addresses are those that the kernel has now, links
// that came are added and those that went left out. Nothing is sent or
// changed. The table may be nil. An error is that of asking the kernel.
func Refresh(rows []Row, age time.Duration) ([]Row, error) {
	links, err := rtnl.Dump(func() ([]netlink.Link, error) { return netlink.LinkList() })
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	addrs, err := rtnl.Dump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	const sysfs = "/sys"
	var out []Row
	for _, nl := range links {
		a := nl.Attrs()
		i := slices.IndexFunc(rows, func(r Row) bool { return r.Index == a.Index && r.MAC == a.HardwareAddr.String() })
		if i < 0 && !rtnl.Candidate(nl, "") {
			continue
		}
		s := Row{MAC: a.HardwareAddr.String(), Driver: rtnl.Driver(a.Name, nl.Type(), sysfs)}
		if i >= 0 {
			s = rows[i]
		} else {
			s.SetPlace(rtnl.Bus(a.Name, sysfs))
		}
		up := rtnl.Carrier(nl, true)
		s.Seconds += int(age / time.Second)
		if i < 0 || up != s.Carrier {
			s.Seconds = 0
		}
		s.Lost = s.Lost && a.RawFlags&unix.IFF_UP == 0
		if s.Speed = 0; up {
			s.Speed = rtnl.Speed(a.Name, sysfs)
		}
		s.Name, s.Index, s.Carrier, s.OperState = a.Name, a.Index, up, a.OperState.String()
		s.V4, s.V6 = FamilyState{}, FamilyState{}
		for _, addr := range addrs {
			p, ok := rtnl.PrefixOf(addr.IPNet)
			if addr.LinkIndex != a.Index || !ok {
				continue
			}
			if f := &s.V4; p.Addr().Is4() {
				f.Address = p.String()
			} else if f = &s.V6; addr.Scope != unix.RT_SCOPE_LINK {
				f.Address = p.String()
			}
		}
		out = append(out, s)
	}
	return out, nil
}
