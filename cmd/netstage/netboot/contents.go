package netboot

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strings"

	"netstage/cmd/netstage/image"
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
		case isKernel(name):
			c.kernels = append(c.kernels, name)
		case isInitrd(name):
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
	return name == "cmdline" || isKernel(name) || isInitrd(name) || isImage(name)
}

func isKernel(name string) bool {
	return name == "bzImage" || name == "vmlinuz" || strings.HasPrefix(name, "vmlinuz-")
}

func isInitrd(name string) bool { return strings.HasPrefix(name, "initrd") }

func isImage(name string) bool {
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

// machineFolder finds the folder of the machine with this MAC address.
func machineFolder(fsys fs.FS, mac string) (string, bool) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return "", false
	}
	for _, entry := range entries {
		if name, ok := normalMAC(entry.Name()); ok && name == mac {
			if info, err := fs.Stat(fsys, entry.Name()); err == nil && info.IsDir() {
				return entry.Name(), true
			}
		}
	}
	return "", false
}

// anyMachineFolder tells whether some machine has files of its own.
func anyMachineFolder(fsys fs.FS) bool {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return false
	}
	for _, entry := range entries {
		if mac, ok := normalMAC(entry.Name()); ok {
			if _, ok := machineFolder(fsys, mac); ok {
				return true
			}
		}
	}
	return false
}

// normalMAC returns a MAC address, written with dashes or colons, the way iPXE
// writes it: aa-bb-cc-dd-ee-ff.
func normalMAC(s string) (string, bool) {
	const length = len("aa-bb-cc-dd-ee-ff")
	if len(s) != length {
		return "", false
	}
	mac := []byte(strings.ToLower(s))
	for i, c := range mac {
		switch {
		case i%3 == 2:
			if c != '-' && c != ':' {
				return "", false
			}
			mac[i] = '-'
		case '0' <= c && c <= '9', 'a' <= c && c <= 'f':
		default:
			return "", false
		}
	}
	return string(mac), true
}

// plan decides what a machine boots: its own files, and for each part that it
// has none of, those of all machines. mac is "" for a machine without files of
// its own.
func plan(fsys fs.FS, mac string) (Boot, error) {
	all, err := scan(fsys, ".")
	if err != nil {
		return Boot{}, err
	}
	var own contents
	folder, found := "", false
	if mac != "" {
		folder, found = machineFolder(fsys, mac)
	}
	if found {
		if own, err = scan(fsys, folder); err != nil {
			return Boot{}, err
		}
	}
	prefix := mac + "/"

	kernels := choose(own.kernels, all.kernels, prefix)
	images := choose(own.images, all.images, prefix)
	b := Boot{Initrds: choose(own.initrds, all.initrds, prefix), Cmdline: all.cmdline}
	if own.hasCmdline {
		b.Cmdline = own.cmdline
	}
	if found {
		b.Note = "for the machine " + mac
	}
	if parameters(b.Cmdline)["rootfs"] {
		images = nil
	}
	switch {
	case len(kernels) == 0 || len(b.Initrds) == 0:
		missing := "a kernel (bzImage or vmlinuz)"
		if len(kernels) > 0 {
			missing = "an initrd (initrd*)"
		}
		if bad := append(own.unreadable, all.unreadable...); len(bad) > 0 {
			return Boot{}, fmt.Errorf("%s is missing; not usable: %s", missing, strings.Join(bad, ", "))
		}
		return Boot{}, fmt.Errorf("%s is missing in the folder served", missing)
	case len(kernels) > 1:
		return Boot{}, fmt.Errorf("which kernel? there are %s; call one vmlinuz", strings.Join(kernels, ", "))
	case len(images) > 1:
		return Boot{}, fmt.Errorf("which image? there are %s; name one by rootfs= in the file cmdline, or call it nix-store.squashfs",
			strings.Join(images, ", "))
	}
	b.Kernel = kernels[0]
	if len(images) == 1 {
		b.Image = images[0]
		if b.SHA256, err = digestOf(fsys, realName(b.Image, mac, folder)); err != nil {
			return Boot{}, err
		}
	}
	for _, name := range append([]string{b.Kernel, b.Image}, b.Initrds...) {
		if !plainName(name) {
			return Boot{}, fmt.Errorf("the file name %q has characters that a boot script can't hold", name)
		}
	}
	return b, nil
}

func choose(own, all []string, prefix string) []string {
	if len(own) == 0 {
		return all
	}
	var names []string
	for _, name := range own {
		names = append(names, prefix+name)
	}
	return names
}

// realName turns a URL below a machine's MAC address into the file's name.
func realName(name, mac, folder string) string {
	if rest, ok := strings.CutPrefix(name, mac+"/"); ok && mac != "" {
		return folder + "/" + rest
	}
	return name
}

// digestOf returns the digest beside a file, "" when there is none.
func digestOf(fsys fs.FS, name string) (string, error) {
	text, err := fs.ReadFile(fsys, name+".sha256")
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	digest, err := image.ParseDigest(text)
	if err != nil {
		return "", fmt.Errorf("%s.sha256 %w", name, err)
	}
	return digest, nil
}

// plainName tells whether a name means itself in URLs, scripts and parameters.
func plainName(name string) bool {
	for _, c := range []byte(name) {
		switch {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		case strings.IndexByte("/._-+", c) >= 0:
		default:
			return false
		}
	}
	return true
}
