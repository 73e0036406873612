package main

import (
	"context"
	"fmt"
	"math"
	"os"

	"github.com/spf13/cobra"

	"netstage/fetch/stream"
)

const hotHelp = `Merges the hot lists of several boots into one: what their systems read first,
in the order of the first list, with what the others read besides after it. A
machine that streams its image writes its list to /run/netstage/image.hot when
all is there.

Put the result beside the image, as IMAGE.hot: machines that boot with
rootfs.stream fetch what it names before the rest. It is advice: a wrong list
costs time and nothing else. It is of one build of an image.

examples:
  netstage hot web1.hot web2.hot -o nix-store.squashfs.hot`

func newHot(std streams) *cobra.Command {
	fs := newFlags()
	output := fs.StringP("output", "o", "", "write to `FILE` instead of the terminal")
	return newCommand("netstage hot LIST… [-o IMAGE.hot]", "merge lists of what boots read first", hotHelp, fs,
		func(_ context.Context, files []string) error {
			if len(files) == 0 {
				return usageError("which lists? Give the /run/netstage/image.hot of machines that streamed the image")
			}
			var lists [][]stream.Span
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					return err
				}
				list, err := stream.ParseHot(text, math.MaxInt64)
				if err != nil {
					return fmt.Errorf("%s: %w", file, err)
				}
				lists = append(lists, list)
			}
			merged := stream.FormatHot(stream.MergeHot(lists...))
			if *output == "" {
				_, err := std.out.Write(merged)
				return err
			}
			return os.WriteFile(*output, merged, 0o644)
		})
}
