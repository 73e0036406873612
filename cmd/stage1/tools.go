package main

import (
	"context"
	"fmt"
	"os"

	"netstage/debug/shell"
	"netstage/stage1/kmod"
)

// runTool runs a tool of the debug shell.
func runTool(name string, args []string) int {
	switch name {
	case "sh":
		status, err := shell.Run(context.Background(), shell.Options{Args: args, Exe: "/proc/self/exe"})
		if err != nil {
			fmt.Fprintln(os.Stderr, "sh:", err)
		}
		return status
	case "modprobe":
		return kmod.ModprobeMain(args, os.Stdout, os.Stderr)
	}
	fmt.Fprintf(os.Stderr, "stage1: there is no tool %q\n", name)
	return 127
}
