// Package kmod loads kernel modules: it reads the index that depmod writes,
// finds the modules that drive what /sys shows, and gives them to the kernel,
// dependencies first and in parallel.
//
// The formats are those of kmod(8): modules.dep(5), modprobe.d(5), and
// finit_module(2).
package kmod

import "strings"

// suffixes of module files; the kernel build writes them, and nixpkgs uses
// .ko.xz.
var suffixes = [...]string{".ko", ".ko.xz", ".ko.zst", ".ko.gz"}

// Name gives the normalised module name of a file or of a name as a person
// writes it: no folder, no suffix, '-' as '_'.
func Name(path string) string {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		path = path[i+1:]
	}
	for _, s := range suffixes {
		if strings.HasSuffix(path, s) {
			path = path[:len(path)-len(s)]
			break
		}
	}
	return strings.ReplaceAll(path, "-", "_")
}

// IsModule says whether a file's name is a module's, compressed or not.
func IsModule(path string) bool {
	for _, s := range suffixes {
		if strings.HasSuffix(path, s) {
			return true
		}
	}
	return false
}
