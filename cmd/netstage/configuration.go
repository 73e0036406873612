package main

import (
	"fmt"
	"io"
	"strings"

	"netstage/cmd/netstage/internal/kconfig"
)

// writeConfiguration writes what a NixOS configuration says to have modules:
// one of these is enough.
func writeConfiguration(w io.Writer, modules []string) {
	if len(modules) == 0 {
		return
	}
	quoted := `"` + strings.Join(modules, `" "`) + `"`
	fmt.Fprintf(w, "\nto paste, one of:\n\n  boot.netstage.modules = [ %s ];\n  boot.initrd.availableKernelModules = [ %[1]s ];\n", quoted)
	symbols, unknown := kconfig.Symbols(modules)
	if len(symbols) == 0 {
		return
	}
	without := ""
	if len(unknown) > 0 {
		without = ", without " + strings.Join(unknown, ", ")
	}
	fmt.Fprintf(w, "  boot.kernelPatches = [ { # built in, by the names of %s%s\n    name = \"netstage-drivers\"; patch = null;\n    extraConfig = ''\n", kconfig.Version(), without)
	for _, symbol := range symbols {
		fmt.Fprintf(w, "      %s y\n", symbol)
	}
	fmt.Fprint(w, "    '';\n  } ];\n")
}
