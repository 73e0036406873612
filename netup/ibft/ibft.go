// Package ibft reads what the firmware's iSCSI Boot Format Table says of
// network cards: the addresses with which the firmware itself booted. The
// kernel's module iscsi_ibft shows it in sysfs
// (Documentation/ABI/testing/sysfs-ibft).
package ibft

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// NIC is what the table says of one network card.
type NIC struct {
	MAC      net.HardwareAddr
	DHCP     bool         // the address came from a DHCP server
	Addr     netip.Prefix // not valid when the table has none
	Gateway  netip.Addr   // not valid when the table has none
	DNS      []netip.Addr
	VLAN     uint16 // 0: frames without a tag
	Hostname string
	// Selected says that the firmware booted from this card.
	Selected bool
}

// The bits of the file flags.
const (
	valid    = 1 << 0
	selected = 1 << 1
)

// originDHCP is the iBFT's value of origin for an address by DHCP.
const originDHCP = "3"

// Read returns the cards of the table in order. A machine without one has
// none. The error tells of cards that could not be understood; the others are
// returned beside it.
func Read(sysfs string) ([]NIC, error) {
	dirs, err := filepath.Glob(filepath.Join(sysfs, "firmware/ibft/ethernet[0-9]*"))
	if err != nil {
		return nil, err
	}
	var nics []NIC
	var errs []error
	for _, dir := range dirs {
		nic, used, err := readNIC(dir)
		if err != nil {
			errs = append(errs, fmt.Errorf("iBFT: %s: %w", filepath.Base(dir), err))
		} else if used {
			nics = append(nics, nic)
		}
	}
	return nics, errors.Join(errs...)
}

// readNIC reads a card's folder. Not used are cards that the table holds a
// place for and nothing more.
func readNIC(dir string) (NIC, bool, error) {
	r := reader{dir: dir}
	n := NIC{Hostname: r.text("hostname")}
	flags := valid | selected // of a table that doesn't say
	if text := r.text("flags"); text != "" {
		flags = r.number("flags", text, 255)
	}
	n.Selected = flags&selected != 0
	var err error
	if n.MAC, err = net.ParseMAC(r.text("mac")); r.err == nil && (err != nil || len(n.MAC) != 6) {
		r.err = fmt.Errorf("mac %q is no Ethernet address", r.text("mac"))
	}
	if text := r.text("vlan"); text != "" {
		n.VLAN = uint16(r.number("vlan", text, 4094))
	}
	addr, server := r.addr("ip-addr"), r.addr("dhcp")
	n.DHCP = server.IsValid() || r.text("origin") == originDHCP
	n.Gateway = r.addr("gateway")
	for _, name := range []string{"primary-dns", "secondary-dns"} {
		if a := r.addr(name); a.IsValid() {
			n.DNS = append(n.DNS, a)
		}
	}
	if addr.IsValid() {
		n.Addr = r.prefix(addr)
	}
	used := flags&valid != 0 && (n.DHCP || n.Addr.IsValid())
	return n, used, r.err
}

// reader reads the files of one card and keeps the first error.
type reader struct {
	dir string
	err error
}

// text is a file's text. The kernel makes no file for what the table lacks.
func (r *reader) text(name string) string {
	b, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) && r.err == nil {
		r.err = err
	}
	return strings.TrimSpace(string(b))
}

func (r *reader) number(name, text string, most int) int {
	n, err := strconv.Atoi(text)
	if r.err == nil && (err != nil || n < 0 || n > most) {
		r.err = fmt.Errorf("%s %q is no number up to %d", name, text, most)
	}
	return n
}

// addr reads an address; all zeros is the table's way of saying none.
func (r *reader) addr(name string) netip.Addr {
	text := r.text(name)
	if text == "" {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		if r.err == nil {
			r.err = fmt.Errorf("%s %q is no address", name, text)
		}
		return netip.Addr{}
	}
	if a = a.Unmap(); a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

// prefix adds the mask: prefix-len, which newer kernels have (4.8), or
// subnet-mask.
func (r *reader) prefix(a netip.Addr) netip.Prefix {
	text := r.text("prefix-len")
	if text == "" {
		mask, err := netip.ParseAddr(r.text("subnet-mask"))
		if err == nil {
			if ones, size := net.IPMask(mask.AsSlice()).Size(); size != 0 {
				text = strconv.Itoa(ones)
			} else {
				text = mask.String()
			}
		}
	}
	if text == "" || text == "0" {
		if r.err == nil {
			r.err = fmt.Errorf("ip-addr %s has no netmask", a)
		}
		return netip.Prefix{}
	}
	bits := r.number("prefix-len", text, a.BitLen())
	return netip.PrefixFrom(a, bits)
}
