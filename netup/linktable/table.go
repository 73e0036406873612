// Package linktable is the table of a machine's links, for people and for
// files.
package linktable

import (
	"fmt"
	"slices"
	"strings"

	"netstage/netup/internal/rtnl"
)

// Row is one row of the table of links, and what of it is written to
// files.
type Row struct {
	Name      string `json:"name"`
	Index     int    `json:"index"`
	MAC       string `json:"mac"`
	Driver    string `json:"driver,omitempty"` // a link without a device has its kind, such as veth
	Bus       string `json:"bus,omitempty"`    // pci, usb, vmbus, …
	Device    string `json:"device,omitempty"` // its address on the bus: 0000:00:03.0
	ID        string `json:"id,omitempty"`     // vendor:device on PCI, in hex
	Carrier   bool   `json:"carrier"`
	OperState string `json:"operstate"` // as the kernel has it: up, down, dormant, …
	// Seconds is the time since the carrier came or went.
	Seconds int         `json:"seconds"`
	Speed   int         `json:"speed,omitempty"` // in Mb/s, where the driver tells
	V4      FamilyState `json:"v4"`
	V6      FamilyState `json:"v6"`
	// Fault is the last one since the link had a lease, for people.
	Fault  string `json:"fault,omitempty"`
	Winner bool   `json:"winner"` // the link that leads to the image
	Lost   bool   `json:"lost"`   // another link does, and this one was set down
}

// FamilyState is how a link fares with its addresses of one family. It is zero
// before the link has carrier, and where the family is not wanted.
type FamilyState struct {
	State   string `json:"state,omitempty"`   // discovering, requesting, bound, proving the path, …
	Tries   int    `json:"tries,omitempty"`   // messages sent, or proofs begun, in this state
	Address string `json:"address,omitempty"` // with its prefix length
	Seconds int    `json:"seconds"`           // in this state
	// Rejected is how many replies were of no use, and RejectedFor why the last
	// one was.
	Rejected    int    `json:"rejected,omitempty"`
	RejectedFor string `json:"rejected_for,omitempty"`
}

// The states of a link that has an address: there is nothing left to do, or the
// image's server is to be reached by it, or was not and other servers are asked
// for a lease while this one is held.
const (
	Bound   = "bound"
	Proving = "proving the path"
	Looking = "no path, looking for another lease"
)

// Slow reports whether a link's speed, in Mb/s, is that of one that was not
// negotiated.
func Slow(speed int) bool { return speed > 0 && speed <= 10 }

// Leased reports whether the link has an address of either family.
func (s Row) Leased() bool { return s.V4.Address != "" || s.V6.Address != "" }

// Doing is what the link has and does, in a few words.
func (s Row) Doing() string {
	if s.Lost {
		return "set down, another link is used"
	}
	if !s.Carrier {
		return fmt.Sprintf("no carrier, %d s", s.Seconds)
	}
	var parts []string
	for _, f := range []FamilyState{s.V4, s.V6} {
		if text := f.text(); text != "" {
			parts = append(parts, text)
		}
	}
	if len(parts) == 0 {
		parts = append(parts, fmt.Sprintf("carrier, %d s", s.Seconds))
	}
	if Slow(s.Speed) {
		parts = append(parts, fmt.Sprintf("%d Mb/s", s.Speed))
	}
	return strings.Join(parts, ", ")
}

// text is empty for a family that is not tried. Without a state nobody counts
// the seconds.
func (f FamilyState) text() string {
	var parts []string
	if f.Address != "" {
		parts = append(parts, f.Address)
	}
	if f.State != "" && (f.State != Bound || f.Address == "") {
		state := f.State
		if f.Tries > 1 {
			state += fmt.Sprintf(" (%d tries)", f.Tries)
		}
		parts = append(parts, state)
	}
	if f.State != "" {
		parts = append(parts, fmt.Sprintf("%d s", f.Seconds))
	}
	if f.Rejected > 0 && f.Address == "" {
		parts = append(parts, fmt.Sprintf("replies rejected: %d (%s)", f.Rejected, f.RejectedFor))
	}
	return strings.Join(parts, ", ")
}

// Summary is the table in one line: what every link with carrier does, and
// which ones have none.
func Summary(links []Row) string {
	if len(links) == 0 {
		return "no network card"
	}
	var parts, dark []string
	for _, l := range byStage(links) {
		switch {
		case l.Lost:
		case !l.Carrier:
			dark = append(dark, l.Name)
		case l.Fault != "":
			parts = append(parts, l.Name+": "+l.Doing()+"; "+l.Fault)
		default:
			parts = append(parts, l.Name+": "+l.Doing())
		}
	}
	if len(dark) > 0 {
		parts = append(parts, "no carrier on "+strings.Join(dark, " "))
	}
	return strings.Join(parts, " | ")
}

// Trouble is what keeps the link that was used from being of use; "" is
// nothing.
func Trouble(links []Row) string {
	i := slices.IndexFunc(links, func(r Row) bool { return r.Winner })
	switch {
	case i < 0:
		return "the network card is gone"
	case !links[i].Carrier || !links[i].Leased() && links[i].Fault == "":
		return links[i].Name + ": " + links[i].Doing()
	case !links[i].Leased():
		return links[i].Name + ": " + links[i].Fault + ", " + links[i].Doing()
	}
	return ""
}

// byStage sorts links, the ones that have come farthest first.
func byStage(links []Row) []Row {
	links = slices.Clone(links)
	slices.SortStableFunc(links, func(a, b Row) int { return b.stage() - a.stage() })
	return links
}

// Table renders links for people, in lines of at most width columns: the ones
// that have come farthest first, with a fault on a line of its own.
func Table(links []Row, width int) []string {
	links = byStage(links)
	var name, driver, device int
	for _, l := range links {
		name, driver, device = max(name, len(l.Name)), max(driver, len(l.Driver)), max(device, len(l.Device))
	}
	var out []string
	for _, l := range links {
		head := fmt.Sprintf("%-*s %-17s", name, l.Name, l.MAC)
		for _, column := range []struct {
			text  string
			width int
		}{{l.Driver, driver}, {l.Device, device}} {
			if column.width > 0 {
				head += fmt.Sprintf(" %-*s", column.width, column.text)
			}
		}
		doing := l.Doing()
		if l.Carrier && !l.Lost && l.Speed > 0 && !Slow(l.Speed) {
			doing += fmt.Sprintf(", %d Mb/s", l.Speed)
		}
		if l.Winner {
			doing += ", used"
		}
		under := strings.Repeat(" ", min(name+1, width/4))
		if len(head)+1+len(doing) <= width {
			out = append(out, head+" "+doing)
		} else {
			out = append(out, cut(strings.TrimRight(head, " "), width))
			out = append(out, Fold(doing, under, width)...)
		}
		if l.Fault != "" {
			out = append(out, Fold(l.Fault, under, width)...)
		}
	}
	return out
}

// SetPlace says where the link's device sits.
func (s *Row) SetPlace(p rtnl.Place) { s.Bus, s.Device, s.ID = p.Bus, p.Device, p.ID }

// stage orders links by how far they have come.
func (s Row) stage() int {
	switch {
	case s.Lost:
		return -1
	case s.Winner:
		return 3
	case s.Leased():
		return 2
	case s.Carrier:
		return 1
	}
	return 0
}

// Fold breaks text at blanks into at most two lines of at most width columns,
// each indented.
func Fold(text, indent string, width int) []string {
	if len(indent)+len(text) <= width {
		return []string{indent + text}
	}
	room := width - len(indent)
	at := strings.LastIndexByte(text[:room+1], ' ')
	if at <= 0 {
		return []string{cut(indent+text, width)}
	}
	return []string{indent + text[:at], cut(indent+text[at+1:], width)}
}

// cut shortens text to width.
func cut(text string, width int) string {
	if len(text) <= width {
		return text
	}
	return text[:max(width-3, 0)] + "..."
}
