package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"netstage/cmd/netstage/internal/keep"
	"netstage/fetch/kept"
)

const keepHelp = `Keeps the image that this system was booted from, for later boots: on the disk
that rootfs.cache.disk= named, which has the last two. The next boot takes what
it can from there and fetches only what changed; without a server it may boot
the last one, where the initrd's policy says so.

A unit of the system runs it once the system is up, since what came up is what
is good: netstage-keep.service of the NixOS module, or one like it. It reads
what the agent left in /run/netstage/keep.json, finds the image in memory and
verifies it once more; one that was used while it came it first lets get whole.
Where there is nothing to keep it says so, and is content.

examples:
  netstage keep`

func newKeep(std streams) *cobra.Command {
	fs := newFlags()
	o := keep.Options{Sys: "/sys", Log: func(text string) { fmt.Fprintln(std.out, text) }}
	fs.StringVar(&o.File, "file", kept.OrderFile, "read what to keep from `FILE`")
	fs.StringVar(&o.Image, "image", "", "the image is in `DEVICE` (default found by its size)")
	fs.StringVar(&o.Dir, "to", "", "keep it in the folder `DIR`, which is mounted already")
	return newCommand("netstage keep [FLAGS]", "keep the image of this boot for later ones", keepHelp, fs,
		func(ctx context.Context, args []string) error {
			if len(args) > 0 {
				return usageError(fmt.Sprintf("what is %q? What is kept is what was booted", args[0]))
			}
			o.Stream = filepath.Join(filepath.Dir(o.File), "stream.json") // as the agent leaves it
			err := keep.Run(ctx, o)
			if errors.Is(err, keep.ErrNothing) || errors.Is(err, keep.ErrOnDemand) {
				fmt.Fprintln(std.out, err)
				return nil
			}
			return err
		})
}
