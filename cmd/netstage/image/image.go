// Package image packs a Nix store, or a whole root file system, into the
// squashfs or erofs that a netbooted machine runs from.
//
// The work is mksquashfs's, with the options of nixpkgs' make-squashfs.nix, or
// mkfs.erofs's. The result depends on the tree and the name of the series
// alone: not on the clock, the number of processors or where the tree lies.
package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"netstage/cmd/netstage/internal/ctxio"
	"netstage/cmd/netstage/internal/output"
	"netstage/nix"
)

// Options say what to pack and where to.
type Options struct {
	// Source is the folder to pack. Its entries become the root of the image.
	Source string
	// Closure is packed instead of Source when it isn't nil: a store with
	// these paths and nix-path-registration.
	Closure *Closure
	// WholeRoot packs Source as a root file system: owners and times are
	// kept, and its names are not checked. Otherwise Source is a store: its
	// entries are store paths and, if present, nix-path-registration; all
	// belong to root and have the time stamp 1, as Nix gives them.
	WholeRoot bool
	// AllRoot gives everything in a whole root to root, as for a tree that
	// was made without privileges.
	AllRoot bool
	// Format of the image; the zero value is squashfs.
	Format Format
	// Compression of the image; the zero value is the format's usual one.
	Compression Compression
	// Series names the images of which each replaces the one before; by
	// default the output's name without its ending.
	Series string
	// Processors is how many mksquashfs uses; 0: all.
	Processors int
	// Output is the file to write, replaced at once when the image is
	// complete. Its digest is written to Output + ".sha256", its dm-verity
	// tree to Output + ".verity" and that one's root to Output + ".roothash".
	Output string
	// Progress receives the program's progress when it isn't nil.
	Progress io.Writer
}

// Report describes a finished image.
type Report struct {
	Path     string // of the image
	Size     int64  // in bytes
	SHA256   [sha256.Size]byte
	RootHash []byte // of its verity tree
	Entries  int    // names in the root of the image
}

// Build packs an image. Nothing is left behind when it fails.
func Build(ctx context.Context, o Options) (report Report, err error) {
	to, err := checkOutput(o.Output)
	if err != nil {
		return Report{}, err
	}
	sources, entries, err := checkSources(ctx, o, to)
	if err != nil {
		return Report{}, err
	}

	// The folder is beside the output, so that a rename can put it in place.
	work, err := output.Folder(to)
	if err != nil {
		return Report{}, err
	}
	defer os.RemoveAll(work)

	packed := filepath.Join(work, "image")
	if o.Closure != nil {
		registration := filepath.Join(work, nix.Registration)
		if err := os.WriteFile(registration, o.Closure.Registration, 0o444); err != nil {
			return Report{}, fmt.Errorf("register the store paths: %w", err)
		}
		sources = append(sources, registration)
	}
	if o.Format == Erofs {
		err = mkfsErofs(ctx, o, sources, work, packed)
	} else {
		err = mksquashfs(ctx, o, sources, packed)
	}
	if err != nil {
		return Report{}, err
	}
	report = Report{Path: to, Entries: entries}
	if report.Size, report.SHA256, err = finish(ctx, packed); err != nil {
		return Report{}, err
	}
	digest := filepath.Join(work, "digest")
	line := fmt.Sprintf("%x  %s\n", report.SHA256, filepath.Base(to))
	if err := os.WriteFile(digest, []byte(line), 0o644); err != nil {
		return Report{}, fmt.Errorf("write the digest: %w", err)
	}
	tree, root := filepath.Join(work, "tree"), filepath.Join(work, "root")
	if report.RootHash, err = writeTree(ctx, packed, tree, report.Size, report.SHA256, o.salt()); err != nil {
		return Report{}, err
	}
	if err := os.WriteFile(root, []byte(hex.EncodeToString(report.RootHash)), 0o644); err != nil {
		return Report{}, fmt.Errorf("write the root hash: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return Report{}, err
	}
	// Between the renames digest and tree are of the old image: a machine that
	// boots just then refuses the image, rather than accept it unverified.
	for _, file := range []struct{ from, suffix string }{{packed, ""}, {digest, ".sha256"}, {tree, ".verity"}, {root, ".roothash"}} {
		if err := os.Rename(file.from, to+file.suffix); err != nil {
			return Report{}, fmt.Errorf("put the image in place: %w", err)
		}
	}
	return report, nil
}

// finish makes a packed image durable and readable by servers, and digests it.
func finish(ctx context.Context, path string) (size int64, digest [sha256.Size]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, digest, fmt.Errorf("read the image back: %w", err)
	}
	defer f.Close()
	hash := sha256.New()
	if size, err = io.Copy(hash, ctxio.Reader(ctx, f)); err != nil {
		return 0, digest, fmt.Errorf("read the image back: %w", err)
	}
	if err := f.Chmod(0o644); err != nil {
		return 0, digest, err
	}
	if err := f.Sync(); err != nil {
		return 0, digest, fmt.Errorf("write the image to disk: %w", err)
	}
	return size, [sha256.Size]byte(hash.Sum(nil)), nil
}

// ReadDigest returns the SHA-256 of the file at path that path + ".sha256"
// holds, in lower-case hex. It is "" when there is no such file.
func ReadDigest(path string) (string, error) {
	text, err := os.ReadFile(path + ".sha256")
	if os.IsNotExist(err) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	digest, err := ParseDigest(text)
	if err != nil {
		return "", fmt.Errorf("%s.sha256: %w", path, err)
	}
	return digest, nil
}

// ParseDigest returns the digest in lower-case hex that the text of a
// ".sha256" file begins with, the way sha256sum writes it.
func ParseDigest(text []byte) (string, error) {
	const digits = 2 * sha256.Size
	// sha256sum puts a backslash before the digests of odd file names.
	if len(text) > 0 && text[0] == '\\' {
		text = text[1:]
	}
	if len(text) < digits || len(text) > digits && text[digits] > ' ' {
		return "", fmt.Errorf("does not begin with a SHA-256 digest of %d hex digits", digits)
	}
	digest, err := hex.DecodeString(string(text[:digits]))
	if err != nil {
		return "", fmt.Errorf("does not begin with a SHA-256 digest: %w", err)
	}
	return hex.EncodeToString(digest), nil
}
