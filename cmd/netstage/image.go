package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"netstage/cmd/netstage/image"
	"netstage/cmd/netstage/internal/output"
)

const imageHelp = `Packs a system image as squashfs or erofs. DIR holds store paths and, if present,
nix-path-registration; they become the root of the image. With --toplevel, the
closure of a NixOS system is asked of nix-store and packed instead, with the
registration that stage 2 loads. With --root, DIR is a whole root file system,
and keeps its owners and time stamps.

The same tree gives the same bytes. FILE is replaced when it is complete; its
SHA-256 is printed, and written to FILE.sha256. Its dm-verity tree, which
vouches for every 4 KiB block, is written to FILE.verity and the tree's root to
FILE.roothash, as veritysetup would. "netstage serve" and "netstage boot" find
them and have the machine verify the image; "netstage sign" signs it.

A squashfs is the smaller. In an erofs an unchanged file is the same blocks as
in the image before, so that a machine that kept that one fetches only what
changed. Images that are to replace each other have one FILE name or --series.

With --hot, what boots of this very image read first is written to FILE.hot, for
machines that start while it comes (rootfs.stream). LIST is made by "netstage
hot", or a machine's.

With --boot, all that boots the system is put into FILE's folder: bzImage and
initrd.zst from the toplevel's kernel, cmdline with its parameters and init=,
and the scripts of "netstage scripts". With --all-in-one, FILE is an initrd
with the image at its end: what --initrd names, or else a new one.

examples:
  netstage image --toplevel /run/current-system --boot -o boot/nix-store.squashfs
  netstage image --toplevel $(nix-build …) --initrd initrd.zst --all-in-one -o initrd-all.zst
  netstage image closure/ -o nix-store.squashfs
  netstage image closure/ --compression zstd:3 -o nix-store.squashfs
  netstage image closure/ --format erofs -o nix-store.erofs
  netstage image --root debian/ -o debian.squashfs
  netstage image --toplevel ./result --boot -o web/nix-store.squashfs --push oci://registry.example/web:42`

// imageFlags are what "netstage image" is asked for.
type imageFlags struct {
	image.Options
	root, format, compression, hot string
	level                          int
	system                         systemFlags
	push                           string
	registry                       registryFlags
}

func newImage(std streams) *cobra.Command {
	fs := newFlags()
	var f imageFlags
	fs.StringVarP(&f.Output, "output", "o", "", "write the image to `FILE`")
	fs.StringVar(&f.root, "root", "", "pack `DIR` as a whole root file system")
	fs.BoolVar(&f.AllRoot, "all-root", false, "with --root: everything belongs to root, whoever owns it here")
	fs.StringVar(&f.format, "format", "squashfs", "`FORMAT` of the image: squashfs or erofs")
	fs.StringVar(&f.compression, "compression", "", "`ALGORITHM[:LEVEL]`: zstd, gzip or xz; of an erofs lz4hc, lz4, zstd or none (default zstd:19 or lz4hc:9)")
	fs.IntVar(&f.level, "level", 0, "the compression's `LEVEL`")
	fs.StringVar(&f.Series, "series", "", "`NAME` of the images that replace each other (default FILE's, without its ending)")
	fs.StringVar(&f.hot, "hot", "", "write the ranges of `LIST` to FILE.hot: what comes first where the image is streamed")
	fs.IntVar(&f.Processors, "processors", 0, "compress a squashfs on `N` processors (default all)")
	f.system.flags(fs)
	givenVar(fs, &f.push, "push", "then push what is in FILE's folder to the registry at `REF`, as netstage push does")
	f.registry.flags(fs)
	return newCommand("netstage image DIR|--toplevel PATH|--root DIR -o FILE [FLAGS]", "pack a system, a store or a whole root into a squashfs or erofs", imageHelp, fs,
		func(ctx context.Context, dirs []string) error {
			var err error
			if err := f.check(dirs); err != nil {
				return err
			}
			if f.Format, err = image.ParseFormat(f.format); err != nil {
				return usageError("--format: " + err.Error())
			}
			if f.Compression, err = image.ParseCompression(f.Format, f.compression); err != nil {
				return usageError("--compression: " + err.Error())
			}
			if fs.Changed("level") {
				if f.Compression, err = f.Compression.WithLevel(f.Format, f.level); err != nil {
					return usageError("--level: " + err.Error())
				}
			}
			if f.Closure, err = f.system.closure(ctx); err != nil {
				return err
			}
			f.Progress = progress(std.err)
			return makeImage(ctx, f, std)
		})
}

// check settles what is to be packed.
func (f *imageFlags) check(dirs []string) error {
	f.WholeRoot = f.root != ""
	sources := len(dirs)
	for _, flag := range []string{f.root, f.system.toplevel, f.system.closureInfo} {
		if flag != "" {
			sources++
		}
	}
	switch {
	case sources == 0:
		return usageError("which folder? Give DIR, --toplevel PATH or --root DIR")
	case sources > 1 && len(dirs) > 0:
		return usageError(fmt.Sprintf("one folder makes an image: what is %q?", dirs[len(dirs)-1]))
	case sources > 1:
		return usageError("one of --toplevel, --closure-info and --root makes an image")
	case f.AllRoot && f.root == "":
		return usageError("--all-root needs --root: in a store everything is root's anyway")
	case f.Output == "":
		return usageError("where to? Give -o FILE")
	case f.hot != "" && f.system.allInOne:
		return usageError("--hot is of an image that machines fetch: an all-in-one initrd is not fetched in parts")
	}
	if f.Source = f.root; len(dirs) > 0 {
		f.Source = dirs[0]
	}
	if f.push != "" {
		if _, err := artifact(f.push); err != nil {
			return err
		}
	}
	return f.system.check()
}

// makeImage packs an image, and what is to boot it.
func makeImage(ctx context.Context, f imageFlags, std streams) error {
	to := f.Output
	if f.system.allInOne {
		// On the same file system, which has the room.
		work, err := output.Folder(to)
		if err != nil {
			return err
		}
		defer os.RemoveAll(work)
		f.Output = filepath.Join(work, "nix-store.squashfs")
	}
	var hot []byte
	if f.hot != "" { // before the work
		var err error
		if hot, err = os.ReadFile(f.hot); err != nil {
			return err
		}
		if _, err := hotList(hot); err != nil {
			return fmt.Errorf("%s: %w", f.hot, err)
		}
	}
	start := time.Now()
	report, err := image.Build(ctx, f.Options)
	if err != nil {
		return err
	}
	fmt.Fprintf(std.err, "%d entries packed into %.1f MiB in %v\n",
		report.Entries, mib(report.Size), time.Since(start).Round(time.Millisecond))
	if hot != nil {
		if err := writeHot(ctx, f.Output+".hot", hot, report.Size); err != nil {
			return fmt.Errorf("%s: %w", f.hot, err)
		}
	}
	if err := f.system.finish(ctx, f.Output, to, report, std.err); err != nil {
		return err
	}
	if !f.system.allInOne {
		fmt.Fprintf(std.out, "%x  %s\n", report.SHA256, to)
	}
	if f.push != "" {
		return push(ctx, filepath.Dir(to), f.push, nil, "", f.registry, std)
	}
	return nil
}

// progress returns w for progress bars when it is a terminal, else nil.
func progress(w io.Writer) io.Writer {
	if f := terminal(w); f != nil {
		return f
	}
	return nil
}
