package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker: -X main.version=…
var version string

func newVersion(std streams) *cobra.Command {
	fs := newFlags()
	return newCommand("netstage version", "print the version of this tool", "Prints the version of this tool and of the Go toolchain that built it.\n\nexample:\n  netstage version", fs,
		func(_ context.Context, args []string) error {
			if err := noOperands(args); err != nil {
				return err
			}
			fmt.Fprint(std.out, versionText())
			return nil
		})
}

// versionText is what "netstage version" and --version print.
func versionText() string {
	return fmt.Sprintf("netstage %s %s %s/%s\n", ownVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// ownVersion is what the linker was told, else what the module system knows.
func ownVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
