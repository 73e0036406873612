package nix

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"netstage/stage1/fault"
)

// A Layout says what an image's root directory is.
type Layout string

const (
	// StoreImage holds the contents of /nix/store at its root (nixpkgs:
	// nixos/lib/make-squashfs.nix).
	StoreImage Layout = "nix-store"
	// WholeRoot is a complete root file system.
	WholeRoot Layout = "whole-root"
)

// Registration is the file beside the store paths of an image that
// `nix-store --load-db` reads.
const Registration = "nix-path-registration"

// LayoutOf looks at the image mounted at dir. init is the path that stage 2
// is to be started with. An image that holds neither a store nor a root is a
// fault.BadImage.
func LayoutOf(dir, init string) (Layout, error) {
	if _, err := os.Lstat(filepath.Join(dir, Registration)); err == nil {
		return StoreImage, nil
	}
	if info, err := os.Stat(filepath.Join(dir, "nix/store")); err == nil && info.IsDir() {
		return WholeRoot, nil
	}
	if _, err := Resolve(dir, init); err == nil {
		return WholeRoot, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("read the image's root directory: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if IsStoreName(entry.Name()) {
			return StoreImage, nil
		}
		if len(names) < 5 {
			names = append(names, entry.Name())
		}
	}
	found := "nothing"
	if len(names) > 0 {
		found = strings.Join(names, ", ")
	}
	return "", fault.Errorf(fault.BadImage, "the image is neither a nix store (store paths at its root) nor a root with /nix/store or %s; it holds %s", init, found)
}

// IsStoreName tells whether name is the base name of a store path: 32 digits
// of nix32, a dash and a name (nix: src/libstore/path.cc).
func IsStoreName(name string) bool {
	const hashLen = 32
	if len(name) < hashLen+2 || name[hashLen] != '-' {
		return false
	}
	return strings.Trim(name[:hashLen], nix32) == ""
}
