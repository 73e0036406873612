package kmod

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"netstage/stage1/modindex"
)

// RmmodMain is the rmmod applet: rmmod [-f] NAME…. args are without argv[0].
// It returns the exit status.
func RmmodMain(args []string, stdout, stderr io.Writer) int {
	const usage = "usage: rmmod [-f] NAME...\n"
	force := false
	var names []string
	for _, a := range args {
		switch a {
		case "-f", "--force":
			force = true
		case "-h", "--help":
			fmt.Fprint(stdout, usage)
			return 0
		default:
			names = append(names, a)
		}
	}
	if len(names) == 0 {
		fmt.Fprint(stderr, usage)
		return 1
	}
	status := 0
	for _, n := range names {
		if err := Remove(n, force); err != nil {
			fmt.Fprintf(stderr, "rmmod: %v\n", err)
			status = 1
		}
	}
	return status
}

// Remove unloads one module by delete_module(2).
func Remove(name string, force bool) error {
	flags := unix.O_NONBLOCK
	if force {
		flags |= unix.O_TRUNC
	}
	err := unix.DeleteModule(modindex.Name(name), flags)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("module %s is not loaded", modindex.Name(name))
	case errors.Is(err, unix.EWOULDBLOCK), errors.Is(err, unix.EBUSY):
		return fmt.Errorf("module %s is in use", modindex.Name(name))
	}
	return fmt.Errorf("remove module %s: %w", modindex.Name(name), err)
}
