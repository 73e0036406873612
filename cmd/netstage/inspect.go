package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"netstage/cmd/netstage/image"
	"netstage/cmd/netstage/internal/inspect"
)

const inspectHelp = `Tells what is in an initrd, or in an image.

Of an initrd: the agent's version, the kernel it is for, its modules, and what it
decides for machines (/etc/netstage): parameters, policy, keys, passwords. It may
be one of another program, and have several archives; of names that are there
twice the last one counts, as for the kernel. No secret is printed.

Of an image: its layout, the NixOS systems in it, and its digests. Where
IMAGE.sha256 beside it says another digest, it fails. unsquashfs lists squashfs
images, dump.erofs those of erofs. "netstage verify" verifies an image.

examples:
  netstage inspect boot/initrd.zst
  netstage inspect boot/initrd.zst --files
  netstage inspect boot/nix-store.squashfs`

func newInspect(std streams) *cobra.Command {
	fs := newFlags()
	files := fs.Bool("files", false, "list the files of the initrd, too")
	return newCommand("netstage inspect FILE [--files]", "tell what is in an initrd or an image", inspectHelp, fs,
		func(ctx context.Context, names []string) error {
			var err error
			if len(names) != 1 {
				return usageError("what to look into? Give one FILE, an initrd or an image")
			}
			file, begin, err := openStart(names[0])
			if err != nil {
				return err
			}
			defer file.Close()
			switch {
			case inspect.IsImage(begin):
				if *files {
					return usageError("--files lists an initrd; for an image there are unsquashfs -l and dump.erofs")
				}
				return inspectImage(ctx, std, file)
			case inspect.IsInitrd(begin):
				i, err := inspect.ReadInitrd(file)
				if err != nil {
					return fmt.Errorf("%s: %w", names[0], err)
				}
				fmt.Fprintf(std.out, "%s: initrd\n", names[0])
				describeContents(std.out, i)
				if *files {
					listFiles(std.out, i)
				}
				if i.Unseen != 0 {
					return i.Unseen
				}
				return nil
			}
			return fmt.Errorf("%s is neither an initrd nor a squashfs or erofs image", names[0])
		})
}

// openStart opens a file and reads what tells its kind.
func openStart(name string) (*os.File, []byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is no regular file", name)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	begin := make([]byte, 4096)
	n, err := file.ReadAt(begin, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		file.Close()
		return nil, nil, err
	}
	return file, begin[:n], nil
}

func inspectImage(ctx context.Context, std streams, file *os.File) error {
	name := file.Name()
	var i *inspect.Image
	err := working(std.err, "reading "+name, time.Second, func() (err error) {
		i, err = inspect.ReadImage(ctx, file)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	digest, err := image.ReadDigest(name)
	if err != nil {
		return err
	}
	root, err := image.ReadRootHash(name)
	if err != nil {
		return err
	}
	w := std.out
	fmt.Fprintf(w, "%s: %s image\n", name, i.Kind)
	l := lines{w}
	l.add("size", "%.2f MiB", mib(i.Size))
	registration := "without nix-path-registration"
	if i.Registered {
		registration = "with nix-path-registration"
	}
	l.add("layout", "%s, %s, %s", i.Layout, count(i.StorePaths, "store path"), registration)
	for _, t := range i.Toplevels {
		version := ""
		if t.Version != "" {
			version = ", NixOS " + t.Version
		}
		l.add("toplevel", "%s%s", t.Path, version)
	}
	beside := ""
	if digest == i.SHA256 {
		beside = ", as in the file beside it"
	}
	l.add("sha256", "%s%s", i.SHA256, beside)
	if root != "" {
		l.add("roothash", "%s, of the tree beside it", root)
	}
	if digest != "" && digest != i.SHA256 {
		return fmt.Errorf("%s.sha256 is of another image, %s: machines would refuse this one", name, digest)
	}
	return nil
}
