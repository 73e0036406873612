package netup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"netstage/netup/internal/plan"
	"netstage/netup/internal/rtnl"
	"netstage/netup/ipparam"
)

// stack makes bonds and VLANs.
type stack struct {
	plan   plan.Plan
	kernel rtnl.Conn
	log    *slog.Logger // for the links it makes and makes them of
	lower  map[int]bool // links beneath VLANs and bonds that do not race; the race's

	mu      sync.Mutex
	pending chan struct{} // closed when the jobs given so far are done; nil: there were none
}

// do runs jobs behind those given before, in order: a bond has its first
// slave's address.
func (s *stack) do(wg *sync.WaitGroup, jobs []func()) {
	if len(jobs) == 0 {
		return
	}
	done := make(chan struct{})
	s.mu.Lock()
	before := s.pending
	s.pending = done
	s.mu.Unlock()
	wg.Go(func() {
		defer close(done)
		if before != nil {
			<-before
		}
		for _, job := range jobs {
			job()
		}
	})
}

// wait waits until what was to be done with a bond is done, whose mode is
// written while it is down. False is the end of the link.
func (s *stack) wait(l *link) bool {
	s.mu.Lock()
	pending := s.pending
	s.mu.Unlock()
	if pending == nil || s.plan.Stacked(l.name) == "" {
		return true
	}
	select {
	case <-pending:
		return true
	case <-l.ctx.Done():
		return false
	}
}

// add gives a link seen for the first time its part in bonds and VLANs. It
// reports whether the link has none of its own in the race then. The devices
// made join by the kernel's notification of them.
func (s *stack) add(nl netlink.Link, joined *joining) bool {
	a := nl.Attrs()
	if s.lower[a.Index] {
		return true
	}
	bond, slave := s.plan.BondOf(a.Name, a.HardwareAddr)
	vlans := s.plan.VLANsOn(a.Name, a.HardwareAddr)
	if !slave && len(vlans) == 0 {
		return false
	}
	named := slices.ContainsFunc(s.plan.Entries, func(e ipparam.Entry) bool {
		return e.Link != "" && e.Method != ipparam.Off && s.plan.Matches(e.Link, a.Name, a.HardwareAddr)
	})
	joined.jobs = append(joined.jobs, func() {
		log := s.log.With("link", a.Name)
		var err error
		if slave {
			err = s.enslave(s.kernel.Link(a.Index, log), a.Name, bond)
		} else {
			err = s.createVLANs(s.kernel.Link(a.Index, log), a.Name, vlans)
		}
		if err != nil {
			log.Warn(err.Error())
		}
	})
	if !slave && named { // frames without a tag matter, too
		return false
	}
	s.lower[a.Index] = true
	return true
}

// enslave makes a bond where it is not there yet, and a link its slave.
func (s *stack) enslave(link rtnl.Link, name string, b ipparam.Bond) error {
	log := s.log.With("link", b.Name)
	bond, fresh, err := s.createBond(log, b)
	if err != nil {
		return err
	}
	if fresh && bond.Attrs().Flags&net.FlagUp != 0 { // a mode is taken while a bond is down
		if err := s.kernel.Link(bond.Attrs().Index, log).SetDown(); err != nil {
			return fmt.Errorf("%s: %w", b.Name, err)
		}
		defer func() { _ = s.kernel.LinkSetUp(bond) }()
	}
	if fresh {
		configureBond(log, b)
	}
	if b.MTU != 0 && bond.Attrs().MTU != b.MTU {
		if err := s.kernel.LinkSetMTU(bond, b.MTU); err != nil {
			log.Warn(fmt.Sprintf("mtu %d is refused", b.MTU), "err", err)
		}
	}
	if err := link.SetDown(); err != nil { // a slave must be
		return err
	}
	link.Log.Info("a slave of " + b.Name)
	if err := link.LinkSetMasterByIndex(rtnl.ByIndex(link.Index), bond.Attrs().Index); err != nil {
		return bondError("become a slave", b, err)
	}
	// Its primary can only be named once it is there.
	if slices.Contains(b.Options, ipparam.BondOption{Key: "primary", Value: name}) {
		if err := rtnl.WriteSetting(bondDir(b.Name)+"primary", name); err != nil {
			log.Warn("option primary="+name+" is refused", "err", errors.Unwrap(err))
		}
	}
	return nil
}

// createBond makes a bond where it is not there yet, and reports whether it has
// no slaves so far: the module makes a bond0 by itself when it is loaded.
func (s *stack) createBond(log *slog.Logger, b ipparam.Bond) (bond netlink.Link, fresh bool, err error) {
	log.Debug("create bond")
	if err := s.kernel.Create("bond", b.Name, nil); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, false, bondError("create a bond (the module bonding)", b, err)
	}
	slaves, err := rtnl.ReadSetting(bondDir(b.Name) + "slaves")
	if err != nil {
		return nil, false, bondError("find the bond", b, err)
	}
	if bond, err = s.kernel.LinkByName(b.Name); err != nil {
		return nil, false, bondError("find the bond", b, err)
	}
	return bond, slaves == "", nil
}

// configureBond writes the options of a bond that is down.
func configureBond(log *slog.Logger, b ipparam.Bond) {
	log.Info("a bond of " + strings.Join(b.Slaves, ", ") + ", " + b.Options[0].Value)
	for _, o := range bondSettings(b) {
		log.Debug("set " + o.Key + " " + o.Value)
		if err := rtnl.WriteSetting(bondDir(b.Name)+o.Key, o.Value); err != nil {
			log.Warn("option "+o.Key+"="+o.Value+" is refused", "err", errors.Unwrap(err))
		}
	}
}

// bondDir is where the kernel has a bond's options.
func bondDir(name string) string { return "/sys/class/net/" + name + "/bonding/" }

// bondError says what a link could not do for a bond.
func bondError(what string, b ipparam.Bond, err error) error {
	return fmt.Errorf("%s, for bond=%s: %w", what, b.Name, err)
}

// bondSettings are a bond's options before it has slaves. Without any link
// monitoring a bond takes dead slaves for good.
func bondSettings(b ipparam.Bond) []ipparam.BondOption {
	var out []ipparam.BondOption
	watched := false
	for _, o := range b.Options {
		watched = watched || o.Key == "miimon" || o.Key == "arp_interval"
		if o.Key != "primary" {
			out = append(out, o)
		}
	}
	if !watched {
		out = append(out, ipparam.BondOption{Key: "miimon", Value: "100"})
	}
	return out
}

// createVLANs makes VLANs of a link and sets it up.
func (s *stack) createVLANs(link rtnl.Link, name string, vlans []ipparam.VLAN) error {
	var errs []error
	for _, v := range vlans {
		log := s.log.With("link", v.Name)
		log.Debug("create vlan")
		parent, id := make([]byte, 4), make([]byte, 2)
		binary.NativeEndian.PutUint32(parent, uint32(link.Index))
		binary.NativeEndian.PutUint16(id, v.ID)
		err := s.kernel.Create("vlan", v.Name, id, nl.NewRtAttr(unix.IFLA_LINK, parent))
		if err == nil {
			log.Info(fmt.Sprintf("made, tag %d on %s", v.ID, name))
		} else if !errors.Is(err, unix.EEXIST) {
			errs = append(errs, fmt.Errorf("create vlan=%s (the module 8021q): %w", v.Name, err))
		}
	}
	link.Log.Debug("set up")
	if err := link.LinkSetUp(rtnl.ByIndex(link.Index)); err != nil {
		errs = append(errs, fmt.Errorf("set up: %w", err))
	}
	return errors.Join(errs...)
}

// remove removes what was made, and sets down what carried it.
func (s *stack) remove() error {
	var errs []error
	del := func(name string) {
		l, err := s.kernel.LinkByName(name)
		if err == nil {
			s.log.With("link", name).Debug("remove")
			err = s.kernel.LinkDel(l)
		}
		if err != nil && !rtnl.Gone(err) && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("%s: remove: %w", name, err))
		}
	}
	for _, v := range s.plan.VLANs {
		del(v.Name)
	}
	for _, b := range s.plan.Bonds {
		del(b.Name)
	}
	for index := range s.lower {
		name := fmt.Sprintf("link %d", index)
		if err := s.kernel.Link(index, s.log.With("link", name)).SetDown(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
