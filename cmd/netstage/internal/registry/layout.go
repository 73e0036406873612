// Package registry puts what a folder holds to boot a system into an OCI
// registry, and gets it from there: one artifact, with a raw layer for each
// file (docs/registry.md).
package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"netstage/cmd/netstage/image"
	"netstage/cmd/netstage/internal/ctxio"
	"netstage/cmd/netstage/netboot"
	"netstage/fetch/manifest"
	"netstage/fetch/oci"
)

// A File is a layer to be.
type File struct {
	Name     string // its title
	Path     string // here
	Type     string // its media type
	Size     int64
	SHA256   string // hex
	RootHash string // of an image's verity tree; empty: there is none
	Changed  time.Time
}

// Files finds what a folder holds to boot a system, as "netstage serve" does,
// and hashes it. Left are names of files that are none of it.
func Files(ctx context.Context, dir string) (files []File, left []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	names := map[string][]string{} // by type
	for _, e := range entries {
		name := e.Name()
		info, err := os.Stat(filepath.Join(dir, name)) // of what a link leads to
		if err != nil {
			return nil, nil, err
		}
		kind := typeOf(name)
		switch {
		case !info.Mode().IsRegular() || strings.HasPrefix(name, ".") || slices.Contains(derived, filepath.Ext(name)):
		case kind == "":
			left = append(left, name)
		default:
			names[kind] = append(names[kind], name)
		}
	}
	kernel, err := one("kernel", names[oci.TypeKernel], "bzImage", "vmlinuz")
	if err != nil {
		return nil, nil, err
	}
	system, err := one("image", slices.Concat(names[oci.TypeSquashfs], names[oci.TypeErofs]), "nix-store.squashfs")
	if err != nil {
		return nil, nil, err
	}
	if kernel == "" && system == "" {
		return nil, nil, fmt.Errorf("%s holds neither a kernel (bzImage or vmlinuz) nor an image (*.squashfs or *.erofs)", dir)
	}
	signed, err := one("manifest", names[oci.TypeManifest], system+".manifest")
	if err != nil {
		return nil, nil, err
	}
	wanted := slices.Concat([]string{kernel}, names[oci.TypeInitrd], names[oci.TypeCmdline], []string{system})
	if system != "" {
		wanted = append(wanted, system+".verity", system+".hot")
	}
	if signed != "" {
		wanted = append(wanted, signed, signed+manifest.Suffix)
	}
	for _, list := range names {
		for _, name := range list {
			if !slices.Contains(wanted, name) {
				left = append(left, name)
			}
		}
	}
	for _, name := range wanted {
		if name == "" || !slices.Contains(names[typeOf(name)], name) {
			continue
		}
		f, err := read(ctx, filepath.Join(dir, name))
		if err != nil {
			return nil, nil, err
		}
		files = append(files, f)
	}
	slices.Sort(left)
	return files, left, nil
}

// derived are files that a registry's own data stand for.
var derived = []string{".sha256", ".roothash"}

// typeOf is the media type of a file, empty for one that is not pushed.
func typeOf(name string) string {
	switch {
	case name == "cmdline":
		return oci.TypeCmdline
	case strings.HasSuffix(name, ".minisig"):
		return oci.TypeSignature
	case strings.HasSuffix(name, ".manifest"):
		return oci.TypeManifest
	case strings.HasSuffix(name, ".verity"):
		return oci.TypeTree
	case strings.HasSuffix(name, ".hot"):
		return oci.TypeHot
	case netboot.IsKernel(name):
		return oci.TypeKernel
	case netboot.IsInitrd(name):
		return oci.TypeInitrd
	case strings.HasSuffix(name, ".erofs"):
		return oci.TypeErofs
	case netboot.IsImage(name):
		return oci.TypeSquashfs
	}
	return ""
}

// one is the only one of some names, or the preferred one.
func one(what string, names []string, preferred ...string) (string, error) {
	for _, name := range preferred {
		if slices.Contains(names, name) {
			return name, nil
		}
	}
	switch len(names) {
	case 0:
		return "", nil
	case 1:
		return names[0], nil
	}
	return "", fmt.Errorf("which %s? There are %s; call one %s", what, strings.Join(names, ", "), preferred[0])
}

// read hashes a file, and learns what is written beside it.
func read(ctx context.Context, path string) (File, error) {
	f := File{Name: filepath.Base(path), Path: path, Type: typeOf(filepath.Base(path))}
	file, err := os.Open(path)
	if err != nil {
		return f, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return f, err
	}
	h := sha256.New()
	if f.Size, err = io.Copy(h, ctxio.Reader(ctx, file)); err != nil {
		return f, fmt.Errorf("hash %s: %w", path, err)
	}
	f.SHA256, f.Changed = hex.EncodeToString(h.Sum(nil)), info.ModTime()
	if f.Type != oci.TypeSquashfs && f.Type != oci.TypeErofs {
		return f, nil
	}
	if _, err := os.Stat(path + ".verity"); err != nil {
		return f, nil // a root hash without its tree is of no use
	}
	text, err := os.ReadFile(path + ".roothash")
	if err != nil {
		return f, fmt.Errorf("there is %s.verity, and its root is not known: %w", f.Name, err)
	}
	if f.RootHash, err = image.ParseRootHash(text); err != nil {
		return f, fmt.Errorf("%s.roothash %w", path, err)
	}
	return f, nil
}
