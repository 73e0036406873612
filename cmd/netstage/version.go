package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/peterbourgon/ff/v3/ffcli"
)

// version is set by the linker: -X main.version=…
var version string

func newVersion(std streams) *ffcli.Command {
	fs := newFlags("version")
	return &ffcli.Command{
		Name:       "version",
		ShortUsage: "netstage version",
		ShortHelp:  "print the version of this tool",
		LongHelp:   "Prints the version of this tool and of the Go toolchain that built it.\n\nexample:\n  netstage version",
		FlagSet:    fs,
		Exec: func(_ context.Context, args []string) error {
			if err := noOperands(fs, args); err != nil {
				return err
			}
			fmt.Fprintf(std.out, "netstage %s %s %s/%s\n", ownVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
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
