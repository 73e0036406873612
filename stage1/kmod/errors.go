package kmod

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"netstage/stage1/fault"
)

// LoadError says that the kernel or the file system refused a module.
type LoadError struct {
	Module string // normalised name
	Path   string // its file
	Op     string // what failed: open, decompress, finit_module, load NAME
	Err    error  // the errno, or the LoadError of a dependency
}

func (e *LoadError) Error() string {
	var dep *LoadError
	if errors.As(e.Err, &dep) {
		return fmt.Sprintf("module %s needs %s", e.Module, strings.TrimPrefix(dep.Error(), "module "))
	}
	s := fmt.Sprintf("module %s (%s): %s: %v", e.Module, e.Path, e.Op, e.Err)
	if advice := e.advice(); advice != "" {
		s += ": " + advice
	}
	return s
}

// Unwrap gives the class, with the cause.
func (e *LoadError) Unwrap() error {
	return &fault.Error{Class: fault.Module, Cause: e.Err}
}

// root is what failed first: the module itself, or one that it needs.
func (e *LoadError) root() *LoadError {
	root := e
	for cause := e; cause != nil; {
		root, cause = cause, nil
		errors.As(root.Err, &cause)
	}
	return root
}

// unpacked says that the index names a file that is not there.
func (e *LoadError) unpacked() bool {
	root := e.root()
	return root.Op == "open" && errors.Is(root.Err, unix.ENOENT)
}

// absent says that nobody is at fault where the module was not asked for by
// name: it found no hardware to drive, which many drivers report as a failure.
func (e *LoadError) absent() bool {
	root := e.root()
	return errors.Is(root.Err, unix.ENODEV) || errors.Is(root.Err, unix.ENXIO)
}

// advice turns an errno of finit_module(2) into what an operator can do.
func (e *LoadError) advice() string {
	var errno unix.Errno
	if !errors.As(e.Err, &errno) {
		return ""
	}
	if e.Op == "open" && errno == unix.ENOENT {
		return "the index names a file that is missing; pack the initrd again"
	}
	switch errno {
	case unix.ENOEXEC:
		return "built for another kernel; pack the modules of the kernel that runs"
	case unix.ENOENT:
		return "a symbol is unknown; pack all modules from one kernel build (dmesg names the symbol)"
	case unix.EKEYREJECTED, unix.ENOKEY, unix.EPERM, unix.EACCES:
		return "this kernel takes only modules signed for it; pack them unchanged or switch lockdown off"
	case unix.EINVAL:
		return "a parameter or the file is wrong (dmesg says which)"
	case unix.ENODEV, unix.ENXIO:
		return "it found no device to drive"
	case unix.ENOMEM:
		return "give the machine more memory"
	case unix.EBUSY:
		return "another loader of the same module failed or its resource is taken"
	case unix.ENOSYS:
		return "this kernel has no loadable modules"
	}
	return ""
}
