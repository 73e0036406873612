package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/peterbourgon/ff/v3/ffcli"
	"golang.org/x/term"

	"netstage/cmd/netstage/image"
)

const imageHelp = `Packs a system image as squashfs. DIR holds store paths and, if present,
nix-path-registration; they become the root of the image. With --root, DIR is
a whole root file system instead, and keeps its owners and time stamps.

The same tree gives the same bytes. FILE is replaced when it is complete; its
SHA-256 is printed, and written to FILE.sha256. Its dm-verity tree, which
vouches for every 4 KiB block, is written to FILE.verity and the tree's root to
FILE.roothash, as veritysetup would. "netstage serve" and "netstage boot" find
them and have the machine verify the image; "netstage sign" signs it.

examples:
  netstage image closure/ -o nix-store.squashfs
  netstage image closure/ --compression zstd:3 -o nix-store.squashfs
  netstage image --root debian/ -o debian.squashfs`

func newImage(std streams) *ffcli.Command {
	fs := newFlags("image")
	output := fs.String("o", "", "write the image to `FILE`")
	root := fs.String("root", "", "pack `DIR` as a whole root file system")
	allRoot := fs.Bool("all-root", false, "with --root: everything belongs to root, whoever owns it here")
	compression := fs.String("compression", "zstd:19", "`ALGORITHM[:LEVEL]`: zstd, gzip or xz")
	level := fs.Int("level", 0, "the compression's `LEVEL`")
	return &ffcli.Command{
		Name:       "image",
		ShortUsage: "netstage image DIR|--root DIR -o FILE [FLAGS]",
		ShortHelp:  "pack a store or a whole root into a squashfs",
		LongHelp:   imageHelp,
		FlagSet:    fs,
		Exec: func(ctx context.Context, args []string) error {
			dirs, err := operands(fs, args)
			if err != nil {
				return err
			}
			o := image.Options{Source: *root, WholeRoot: *root != "", AllRoot: *allRoot, Output: *output}
			switch {
			case *root == "" && len(dirs) == 0:
				return usageError("which folder? Give DIR or --root DIR")
			case *root != "" && len(dirs) > 0, len(dirs) > 1:
				return usageError(fmt.Sprintf("one folder makes an image: what is %q?", dirs[len(dirs)-1]))
			case *allRoot && *root == "":
				return usageError("--all-root needs --root: in a store everything is root's anyway")
			case *output == "":
				return usageError("where to? Give -o FILE")
			case *root == "":
				o.Source = dirs[0]
			}
			if o.Compression, err = image.ParseCompression(*compression); err != nil {
				return usageError("--compression: " + err.Error())
			}
			if given(fs, "level") {
				if o.Compression, err = o.Compression.WithLevel(*level); err != nil {
					return usageError("--level: " + err.Error())
				}
			}
			o.Progress = progress(std.err)
			start := time.Now()
			report, err := image.Build(ctx, o)
			if err != nil {
				return err
			}
			fmt.Fprintf(std.err, "%d entries packed into %.1f MiB in %v\n",
				report.Entries, mib(report.Size), time.Since(start).Round(time.Millisecond))
			fmt.Fprintf(std.out, "%x  %s\n", report.SHA256, *output)
			return nil
		},
	}
}

// progress returns w for progress bars when it is a terminal, else nil.
func progress(w io.Writer) io.Writer {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}
