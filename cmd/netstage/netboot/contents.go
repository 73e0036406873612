package netboot

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strings"
)

// contents are the files of a folder that make up a boot.
type contents struct {
	kernels []string // at most one unless it is unclear which to boot
	initrds []string
	images  []string // as kernels
	cmdline string
	// hasCmdline tells an empty command line from none.
	hasCmdline bool
	// unreadable lists files that should have been used: links that lead
	// out of the folder, mostly.
	unreadable []string
}

// scan looks for the parts of a boot in the folder dir of fsys.
func scan(fsys fs.FS, dir string) (contents, error) {
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return contents{}, err
	}
	var c contents
	for _, entry := range entries {
		name := entry.Name()
		if !partOfBoot(name) {
			continue
		}
		info, err := fs.Stat(fsys, path.Join(dir, name))
		if err != nil {
			c.unreadable = append(c.unreadable, fmt.Sprintf("%s: %v", path.Join(dir, name), errors.Unwrap(err)))
			continue
		}
		if !info.Mode().IsRegular() {
			continue
		}
		switch {
		case name == "cmdline":
			text, err := fs.ReadFile(fsys, path.Join(dir, name))
			if err != nil {
				return contents{}, err
			}
			c.cmdline, c.hasCmdline = joinCmdline(string(text)), true
		case IsKernel(name):
			c.kernels = append(c.kernels, name)
		case IsInitrd(name):
			c.initrds = append(c.initrds, name)
		default:
			c.images = append(c.images, name)
		}
	}
	// The plain names need no other to be removed.
	c.kernels = prefer(c.kernels, "bzImage", "vmlinuz")
	c.images = prefer(c.images, "nix-store.squashfs")
	sort.Strings(c.initrds)
	return c, nil
}

func partOfBoot(name string) bool {
	if strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".sha256") || strings.HasSuffix(name, ".minisig") {
		return false
	}
	return name == "cmdline" || IsKernel(name) || IsInitrd(name) || IsImage(name)
}

// IsKernel tells whether a file of that name is a kernel.
func IsKernel(name string) bool {
	return name == "bzImage" || name == "vmlinuz" || strings.HasPrefix(name, "vmlinuz-")
}

// IsInitrd tells whether a file of that name is an initrd.
func IsInitrd(name string) bool {
	return strings.HasPrefix(name, "initrd") && !strings.HasSuffix(name, signature)
}

// IsImage tells whether a file of that name is a system image.
func IsImage(name string) bool {
	return strings.HasSuffix(name, ".squashfs") || strings.HasSuffix(name, ".erofs")
}

// prefer returns only the first of the wanted names that is among them.
func prefer(names []string, wanted ...string) []string {
	for _, want := range wanted {
		for _, name := range names {
			if name == want {
				return []string{name}
			}
		}
	}
	return names
}

// joinCmdline makes one line of a command line file; lines that begin with a
// "#" are comments.
func joinCmdline(text string) string {
	var words []string
	for _, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") {
			words = append(words, strings.Fields(line)...)
		}
	}
	return strings.Join(words, " ")
}
