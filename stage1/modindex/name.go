// Package modindex reads the index that depmod(8) writes of a kernel's modules,
// under a configuration, and what module files say of themselves; it answers
// which modules a name or a modalias stands for and what they need, and writes
// such an index. It loads nothing and looks at no machine.
//
// The formats are those of kmod(8): modules.dep(5) and modprobe.d(5).
package modindex

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
