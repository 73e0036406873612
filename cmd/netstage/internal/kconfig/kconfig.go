// Package kconfig knows which configuration symbols build a driver of network
// cards or disks into the kernel.
package kconfig

import (
	_ "embed"
	"slices"
	"strings"
)

// table has a line for each module: its name, the menus that it is in, its own
// symbol. The first line tells the kernel's version.
//
//go:embed table.txt
var table string

// Version is that of the kernel whose Kconfig files were read.
func Version() string {
	first, _, _ := strings.Cut(table, ":")
	return strings.TrimPrefix(first, "# ")
}

// Symbols returns the symbols to be set to y for modules, without CONFIG_, each
// once, and the modules that nothing is known of.
func Symbols(modules []string) (symbols, unknown []string) {
	known := map[string][]string{}
	for line := range strings.Lines(table) {
		if words := strings.Fields(line); words[0] != "#" {
			known[words[0]] = words[1:]
		}
	}
	for _, module := range modules {
		if len(known[module]) == 0 {
			unknown = append(unknown, module)
		}
		for _, symbol := range known[module] {
			if !slices.Contains(symbols, symbol) {
				symbols = append(symbols, symbol)
			}
		}
	}
	return symbols, unknown
}
