package netboot

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"netstage/cmd/netstage/image"
)

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
	named := "" // of the operator's rootfs=, if it is an image that lies here
	if own := parameters(b.Cmdline); own["rootfs"] || own["rootfs.manifest"] {
		images = nil
		if !own["rootfs.manifest"] {
			if named, err = namedImage(fsys, folder, b.Cmdline); err != nil {
				return Boot{}, err
			}
		}
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
		if b.RootHash, err = rootHashOf(fsys, realName(b.Image, mac, folder)); err != nil {
			return Boot{}, err
		}
	}
	if named != "" {
		if b.SHA256, err = digestOf(fsys, named); err != nil {
			return Boot{}, err
		}
		if b.RootHash, err = rootHashOf(fsys, named); err != nil {
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

// Inspect tells what a folder boots, of machines without files of their own.
func Inspect(fsys fs.FS) (Boot, error) { return plan(fsys, "") }

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

// namedImage returns the image in the folder, or else at the top, that every
// rootfs= of a command line names, wherever that is fetched from; "" for none.
// What vouches for it here vouches for it there.
func namedImage(fsys fs.FS, folder, cmdline string) (string, error) {
	name := ""
	for _, word := range strings.Fields(cmdline) {
		ref, is := strings.CutPrefix(word, "rootfs=")
		if !is {
			continue
		}
		ref, _, _ = strings.Cut(ref, "?")
		if base := basename(ref); name == "" || base == name {
			name = base
		} else {
			return "", nil
		}
	}
	if !IsImage(name) || !fs.ValidPath(name) {
		return "", nil
	}
	for _, place := range []string{folder + "/" + name, name} {
		info, err := fs.Stat(fsys, strings.TrimPrefix(place, "/"))
		switch {
		case err == nil && info.Mode().IsRegular():
			return strings.TrimPrefix(place, "/"), nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return "", err
		}
	}
	return "", nil
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

// rootHashOf returns the root of the verity tree beside a file, "" when there
// is none.
func rootHashOf(fsys fs.FS, name string) (string, error) {
	if _, err := fs.Stat(fsys, name+".verity"); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	text, err := fs.ReadFile(fsys, name+".roothash")
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	root, err := image.ParseRootHash(text)
	if err != nil {
		return "", fmt.Errorf("%s.roothash %w", name, err)
	}
	return root, nil
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
