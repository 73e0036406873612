package plan

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"netstage/netup/ibft"
	"netstage/netup/ipparam"
)

// ApplyIBFT puts what the firmware's iBFT says in the place of ip=ibft. Where no
// ip= says anything, the card that the firmware booted from gets the table's
// setting and the others keep theirs: the table may be an old one.
func (p *Plan) ApplyIBFT(log *slog.Logger, sysfs string) {
	isIBFT := func(e ipparam.Entry) bool { return e.Method == ipparam.IBFT }
	asked := slices.ContainsFunc(p.Entries, isIBFT)
	if !p.WantsIBFT() {
		return
	}
	nics, err := ibft.Read(sysfs)
	if err != nil {
		log.Warn(err.Error())
	}
	if !asked {
		nics = slices.DeleteFunc(nics, func(n ibft.NIC) bool {
			return !n.Selected || p.BootMAC != nil && !bytes.Equal(p.BootMAC, n.MAC)
		})
		if len(nics) == 0 {
			return
		}
	}
	entries := slices.DeleteFunc(slices.Clone(p.Entries), isIBFT)
	if !asked || len(nics) == 0 && len(entries) == 0 {
		entries = append(entries, ipparam.Entry{Text: "any", Method: ipparam.Any})
	}
	if len(nics) == 0 {
		log.Warn("ip=ibft, but the firmware has no iBFT, or the initrd no module iscsi_ibft")
	}
	p.VLANs = slices.Clone(p.VLANs)
	for _, n := range nics {
		entries = append(entries, p.firmwareEntry(log, n))
	}
	p.Entries = entries
}

// firmwareEntry is what a card of the table would be in the operator's words.
func (p *Plan) firmwareEntry(log *slog.Logger, n ibft.NIC) ipparam.Entry {
	e := ipparam.Entry{
		Text: "ibft", Link: "enx" + strings.ReplaceAll(n.MAC.String(), ":", ""),
		Method: ipparam.DHCP, Hostname: n.Hostname,
	}
	text := "DHCP"
	if !n.DHCP {
		e.Method, e.Addr, e.Gateway, e.DNS = ipparam.Static, n.Addr, n.Gateway, n.DNS
		text = n.Addr.String()
	}
	if n.VLAN != 0 {
		v := ipparam.VLAN{Name: fmt.Sprintf("vlan%d", n.VLAN), ID: n.VLAN, Parent: e.Link}
		if !slices.Contains(p.VLANs, v) {
			p.VLANs = append(p.VLANs, v)
		}
		e.Link = v.Name
		text += fmt.Sprintf(" with the tag %d", n.VLAN)
	}
	log.Info(fmt.Sprintf("the firmware's iBFT has %s for %s", text, n.MAC))
	return e
}
