// Generate writes the table of package kconfig: the configuration symbols that
// build a driver into the kernel, from the Kconfig files and Makefiles of a
// kernel's sources or headers.
//
//	go run ./cmd/netstage/internal/kconfig/generate VERSION DIR >cmd/netstage/internal/kconfig/table.txt
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// folders hold the drivers of network cards and disks.
var folders = []struct {
	kconfig string
	outer   []string // the menus that it is sourced in
}{
	{"drivers/net/ethernet/Kconfig", nil},
	{"drivers/net/usb/Kconfig", []string{"USB_SUPPORT", "USB"}},
	{"drivers/net/Kconfig", nil},
	{"drivers/net/hyperv/Kconfig", nil},
	{"drivers/nvme/host/Kconfig", nil},
	{"drivers/ata/Kconfig", nil},
	{"drivers/scsi/Kconfig", nil},
	{"drivers/message/fusion/Kconfig", nil},
	{"drivers/block/Kconfig", nil},
	{"drivers/virtio/Kconfig", nil},
	{"drivers/usb/storage/Kconfig", []string{"USB_SUPPORT", "USB"}},
	{"drivers/usb/host/Kconfig", []string{"USB_SUPPORT", "USB"}},
	{"drivers/mmc/host/Kconfig", []string{"MMC"}},
	{"drivers/mmc/core/Kconfig", []string{"MMC"}},
}

type reader struct {
	root    string
	parents map[string][]string // symbol -> those that it needs, outermost first
	prompts map[string]bool     // symbols that may be set
	modules map[string]string   // module -> symbol
	seen    map[string]bool
	defined map[string]bool
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: generate VERSION DIR")
		os.Exit(2)
	}
	r := reader{root: os.Args[2], parents: map[string][]string{}, prompts: map[string]bool{}, modules: map[string]string{}, seen: map[string]bool{}, defined: map[string]bool{}}
	for _, f := range folders {
		if err := r.kconfig(f.kconfig, f.outer); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if err := r.makefiles(filepath.Dir(f.kconfig)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	fmt.Printf("# Linux %s: modules, and the symbols that build them in. Written by generate; do not edit.\n", os.Args[1])
	var names []string
	for name := range r.modules {
		names = append(names, name)
	}
	slices.Sort(names)
	if err := r.allPrompts(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, name := range names {
		symbol := r.modules[name]
		if !r.prompts[symbol] {
			continue
		}
		needs := slices.DeleteFunc(slices.Clone(r.parents[symbol]), func(s string) bool { return r.defined[s] && !r.prompts[s] })
		fmt.Println(name, strings.Join(append(append(needs, symbol), parts[name]...), " "))
	}
}

// parts are symbols that add to a module what makes it a network card's.
var parts = map[string][]string{"mlx5_core": {"MLX5_CORE_EN"}}

// allPrompts finds out which symbols can be set at all: others follow by
// themselves, and nixpkgs refuses to be told of them.
func (r *reader) allPrompts() error {
	return filepath.WalkDir(r.root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !strings.HasPrefix(entry.Name(), "Kconfig") || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		symbol := ""
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			switch {
			case len(fields) < 2:
			case fields[0] == "config" || fields[0] == "menuconfig":
				symbol = fields[1]
				r.defined[symbol] = true
			case slices.Contains([]string{"bool", "tristate", "prompt"}, fields[0]) && strings.HasPrefix(fields[1], `"`):
				r.prompts[symbol] = true
			}
		}
		return nil
	})
}

var plain = regexp.MustCompile(`^[A-Z0-9_]+$`)

// kconfig reads a file and those that it sources; outer are the symbols that
// all in it needs.
func (r *reader) kconfig(name string, outer []string) error {
	if r.seen[name] {
		return nil
	}
	r.seen[name] = true
	text, err := os.ReadFile(filepath.Join(r.root, name))
	if err != nil {
		return err
	}
	ifs := [][]string{outer} // for each "if" around, all that is needed
	symbol := ""
	for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", " ")) {
		line = strings.TrimSpace(strings.SplitN(line, " #", 2)[0])
		word, rest, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
		rest = strings.TrimSpace(rest)
		around := ifs[len(ifs)-1]
		switch word {
		case "if":
			ifs = append(ifs, with(around, conjunction(rest)))
		case "endif":
			ifs = ifs[:max(len(ifs)-1, 1)]
		case "config", "menuconfig":
			symbol = rest
			if _, known := r.parents[symbol]; !known {
				r.parents[symbol] = around
			}
		case "tristate", "bool":
			if strings.HasPrefix(rest, `"`) && symbol != "" {
				r.prompts[symbol] = true
			}
		case "depends":
			if symbol != "" {
				r.parents[symbol] = with(r.parents[symbol], conjunction(strings.TrimPrefix(rest, "on ")))
			}
		case "menu", "endmenu", "choice", "comment":
			symbol = ""
		case "source":
			if err := r.kconfig(strings.Trim(rest, `"`), around); err != nil && !os.IsNotExist(err) {
				return err
			}
		}
	}
	return nil
}

// always are on wherever a machine boots from a network or a disk at all.
var always = []string{"NET", "PCI", "BLOCK", "NETDEVICES", "NET_CORE", "HAS_IOMEM", "HAS_IOPORT", "HAS_DMA", "INET", "MMU", "X86", "ACPI", "64BIT", "PAGE_SIZE_LESS_THAN_64KB"}

// conjunction returns the symbols of an expression that has to be met in all
// its parts. What has alternatives is left to whoever configures the kernel.
func conjunction(text string) []string {
	var symbols []string
	for part := range strings.SplitSeq(text, "&&") {
		if part = strings.TrimSpace(part); plain.MatchString(part) && !slices.Contains(always, part) {
			symbols = append(symbols, part)
		}
	}
	return symbols
}

func with(outer, more []string) []string {
	all := slices.Clone(outer)
	for _, symbol := range more {
		if !slices.Contains(all, symbol) {
			all = append(all, symbol)
		}
	}
	return all
}

var object = regexp.MustCompile(`^obj-\$\(CONFIG_([A-Z0-9_]+)\)\s*[+:]?=\s*(.*)`)

// makefiles reads which symbol makes which module.
func (r *reader) makefiles(folder string) error {
	return filepath.WalkDir(filepath.Join(r.root, folder), func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.IsDir() && slices.Contains([]string{"wireless", "wwan", "can", "ieee802154"}, entry.Name()) {
			return filepath.SkipDir // no machine boots by these
		}
		if err != nil || entry.Name() != "Makefile" && entry.Name() != "Kbuild" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", " ")) {
			m := object.FindStringSubmatch(strings.TrimSpace(line))
			if m == nil {
				continue
			}
			for file := range strings.FieldsSeq(m[2]) {
				module, is := strings.CutSuffix(file, ".o")
				module = strings.ReplaceAll(module, "-", "_")
				old, known := r.modules[module]
				switch {
				case is && !known:
					r.modules[module] = m[1]
				case is && old != m[1]:
					r.modules[module] = "" // a part of several, which come with it
				}
			}
		}
		return nil
	})
}
