package inspect

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"

	"netstage/cmd/netstage/internal/ctxio"
	"netstage/nix"
)

// Image is what a system image holds.
type Image struct {
	Kind       string // "squashfs" or "erofs"
	Size       int64  // bytes
	SHA256     string // hex, of the whole file
	Layout     nix.Layout
	StorePaths int
	Registered bool       // it has a nix-path-registration beside its store paths
	Toplevels  []Toplevel // empty where it is no NixOS
}

// Toplevel is a NixOS system inside an image.
type Toplevel struct {
	Path    string // in the machine: /nix/store/…
	Version string // of NixOS
}

// imageStart is how many bytes tell an image's kind: that of erofs is past the
// first kilobyte.
const imageStart = 1028

// erofsMagic is EROFS_SUPER_MAGIC_V1 of linux/magic.h.
const erofsMagic = 0xe0f5e1e2

func imageKind(begin []byte) string {
	switch {
	case bytes.HasPrefix(begin, []byte("hsqs")):
		return "squashfs"
	case len(begin) >= imageStart && binary.LittleEndian.Uint32(begin[1024:]) == erofsMagic:
		return "erofs"
	}
	return ""
}

// IsImage tells whether a file that begins with b, 1028 bytes or more of it,
// may be an image.
func IsImage(b []byte) bool { return imageKind(b) != "" }

// ReadImage looks into the image in file. It is listed by unsquashfs or
// dump.erofs.
func ReadImage(ctx context.Context, file *os.File) (*Image, error) {
	begin := make([]byte, imageStart)
	n, err := file.ReadAt(begin, 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	i := &Image{Kind: imageKind(begin[:n])}
	sum := sha256.New()
	if i.Size, err = io.Copy(sum, ctxio.Reader(ctx, file)); err != nil {
		return nil, err
	}
	i.SHA256 = hex.EncodeToString(sum.Sum(nil))
	var l lister = squashfs(file.Name())
	if i.Kind == "erofs" {
		l = erofs(file.Name())
	}
	if err := i.look(ctx, l); err != nil {
		return nil, fmt.Errorf("%s image: %w", i.Kind, err)
	}
	return i, nil
}

// look finds out the layout, as the agent does, and the systems.
func (i *Image) look(ctx context.Context, l lister) error {
	names, err := l.list(ctx, "/")
	if err != nil {
		return err
	}
	store, prefix := names, "/"
	i.Registered = slices.Contains(names, nix.Registration)
	switch {
	case i.Registered || !slices.Contains(names, "nix") && slices.ContainsFunc(names, nix.IsStoreName):
		i.Layout = nix.StoreImage
	default:
		i.Layout, prefix = nix.WholeRoot, nix.StoreDir+"/"
		if store = nil; slices.Contains(names, "nix") {
			if store, err = l.list(ctx, nix.StoreDir); err != nil {
				return err
			}
		}
	}
	for _, name := range store {
		if !nix.IsStoreName(name) {
			continue
		}
		i.StorePaths++
		// Its name tells, so that not every path is looked into (nixpkgs:
		// system.name in top-level.nix).
		if !strings.Contains(name, "-nixos-system-") {
			continue
		}
		version, err := l.read(ctx, prefix+name+"/nixos-version")
		if err != nil {
			return err
		}
		i.Toplevels = append(i.Toplevels, Toplevel{Path: nix.StoreDir + "/" + name, Version: strings.TrimSpace(version)})
	}
	return nil
}

// lister looks into an image. Paths are absolute.
type lister interface {
	list(ctx context.Context, folder string) ([]string, error)
	read(ctx context.Context, file string) (string, error) // a small file
}

type squashfs string

func (s squashfs) list(ctx context.Context, folder string) ([]string, error) {
	args := []string{"-l", "-max-depth", fmt.Sprint(strings.Count(path.Join(folder, "x"), "/")), "-d", "", string(s)}
	if folder != "/" {
		args = append(args, strings.TrimPrefix(folder, "/"))
	}
	out, err := output(ctx, "squashfs-tools", "unsquashfs", args...)
	var names []string
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(line, "\n")
		if dir, name := path.Split(line); name != "" && path.Clean(dir) == folder {
			names = append(names, name)
		}
	}
	return names, err
}

func (s squashfs) read(ctx context.Context, file string) (string, error) {
	return output(ctx, "squashfs-tools", "unsquashfs", "-cat", string(s), strings.TrimPrefix(file, "/"))
}

type erofs string

func (e erofs) list(ctx context.Context, folder string) ([]string, error) {
	out, err := output(ctx, "erofs-utils", "dump.erofs", "--ls", "--path="+folder, string(e))
	if err != nil {
		return nil, err
	}
	// NID TYPE FILENAME below a heading of those words.
	var names []string
	heading := false
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		switch {
		case slices.Equal(f, []string{"NID", "TYPE", "FILENAME"}):
			heading = true
		case heading && len(f) == 3 && f[2] != "." && f[2] != "..":
			names = append(names, f[2])
		}
	}
	if !heading {
		return nil, fmt.Errorf("dump.erofs --ls: it lists nothing: %.100q", out)
	}
	return names, nil
}

// read has no program for it: dump.erofs prints no contents before erofs-utils
// 1.8.
func (e erofs) read(context.Context, string) (string, error) { return "", nil }

// output runs a program of a Debian package and returns what it prints.
func output(ctx context.Context, pkg, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := cmd.Run()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("%s is needed to look into it: install %s", name, pkg)
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil:
		return "", fmt.Errorf("%s: %w: %s", name, err, strings.Join(strings.Fields(complaints.String()), " "))
	}
	return out.String(), nil
}

// HasInit tells whether an image has the store path, or in a whole root the
// folder at the top, that an init is in.
func HasInit(ctx context.Context, file *os.File, init string) (bool, error) {
	begin := make([]byte, imageStart)
	n, err := file.ReadAt(begin, 0)
	if err != nil && err != io.EOF {
		return false, err
	}
	var l lister = squashfs(file.Name())
	if imageKind(begin[:n]) == "erofs" {
		l = erofs(file.Name())
	}
	names, err := l.list(ctx, "/")
	if err != nil {
		return false, err
	}
	first := func(path string) string {
		name, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		return name
	}
	rest, inStore := strings.CutPrefix(path.Clean(init), nix.StoreDir+"/")
	switch {
	case inStore && !slices.Contains(names, "nix"):
		return slices.Contains(names, first(rest)), nil
	case inStore:
		names, err = l.list(ctx, nix.StoreDir)
		return slices.Contains(names, first(rest)), err
	case slices.Contains(names, nix.Registration):
		return false, nil
	}
	return slices.Contains(names, first(path.Clean(init))), nil
}
