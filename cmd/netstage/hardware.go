package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"netstage/stage1/kmod"
	"netstage/stage1/report"
)

// A device is something that wants a driver.
type device struct {
	name    string   // for people
	alias   string   // its modalias, or its driver's name
	others  []string // that it may have instead
	network bool     // surely a network card
	named   bool     // on the command line, or by a report
}

// readHardware reads what the words name, or else this machine, whose sysfs is
// at sys. Each alias is there once.
func readHardware(words []string, sys string, in io.Reader) ([]device, error) {
	var all []device
	add := func(d device) {
		for _, old := range all {
			if old.alias == d.alias && old.name == d.name {
				return
			}
		}
		all = append(all, d)
	}
	if len(words) == 0 {
		aliases, err := kmod.Modaliases(sys)
		if err != nil {
			return nil, fmt.Errorf("this machine's hardware: %w", err)
		}
		for _, alias := range aliases {
			add(deviceOf(alias))
		}
	}
	for _, word := range words {
		if _, err := os.Stat(word); err != nil && word != "-" && strings.Contains(word, ":") {
			d, named, err := deviceOfLine(word)
			if err == nil && !named {
				err = errors.New("names no device")
			}
			if err != nil {
				return nil, fmt.Errorf("%s %w", word, err)
			}
			d.named = true
			add(d)
			continue
		}
		devices, err := readDevices(word, in)
		if err != nil {
			return nil, err
		}
		for _, d := range devices {
			add(d)
		}
	}
	return all, nil
}

// readDevices reads a report or a list of modaliases; "-" is in.
func readDevices(name string, in io.Reader) ([]device, error) {
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in = file
	}
	const most = 1 << 20
	text, err := io.ReadAll(io.LimitReader(in, most+1))
	if err != nil {
		return nil, err
	}
	if len(text) > most {
		return nil, fmt.Errorf("%s is too large for a list of modaliases", name)
	}
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		r, err := report.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		var all []device
		for _, l := range r.Links {
			if l.Driver != "" {
				all = append(all, device{name: strings.TrimSpace(l.Name + " " + l.MAC + " " + l.Device), alias: l.Driver, network: true, named: true})
			}
		}
		return all, nil
	}
	return readListing(name, string(text))
}

// The forms of modaliases on the buses that network cards are on (Linux:
// scripts/mod/file2alias.c).
var (
	pciAlias    = regexp.MustCompile(`^pci:v0000([0-9A-F]{4})d0000([0-9A-F]{4}).*bc([0-9A-F]{2})sc([0-9A-F]{2})`)
	usbAlias    = regexp.MustCompile(`^usb:v([0-9A-F]{4})p([0-9A-F]{4})`)
	virtioAlias = regexp.MustCompile(`^virtio:d0000([0-9A-F]{4})v`)
)

// deviceOf tells of a modalias what it says by itself. What a USB device is it
// does not.
func deviceOf(alias string) device {
	d := device{name: alias, alias: alias}
	if m := pciAlias.FindStringSubmatch(alias); m != nil {
		// Class 02, network controller; 02 80, any other kind of it, is
		// wireless nearly always.
		d.name, d.network = "pci "+strings.ToLower(m[1]+":"+m[2]), m[3] == "02" && m[4] != "80"
	} else if m := usbAlias.FindStringSubmatch(alias); m != nil {
		d.name = "usb " + strings.ToLower(m[1]+":"+m[2])
	} else if m := virtioAlias.FindStringSubmatch(alias); m != nil {
		d.name, d.network = "virtio device "+strings.TrimLeft(m[1], "0"), m[1] == "0001"
	} else if len(alias) > 40 {
		d.name = alias[:39] + "…"
	}
	return d
}
