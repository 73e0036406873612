package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"

	"github.com/spf13/cobra"

	"netstage/cmd/netstage/internal/output"
	"netstage/fetch/stream"
	"netstage/stage1/report"
)

const hotHelp = `Merges the hot lists of several boots into one: what their systems read first,
in the order of the first list, with what the others read besides after it. A
machine that streams its image keeps its list in /run/netstage/image.hot, and
the report of a boot, state complete, has it too: either can be given.

Put the result beside the image, as IMAGE.hot: machines that boot with
rootfs.stream fetch what it names before the rest. It is advice: a wrong list
costs time and nothing else. It is of one build of an image.

examples:
  netstage hot web1.hot web2.hot -o nix-store.squashfs.hot
  netstage hot /srv/boot/reports/*/*.json -o nix-store.squashfs.hot`

func newHot(std streams) *cobra.Command {
	fs := newFlags()
	to := fs.StringP("output", "o", "", "write to `FILE` instead of the terminal")
	return mark(newCommand("netstage hot FILE… [-o IMAGE.hot]", "merge lists of what boots read first", hotHelp, fs,
		func(ctx context.Context, files []string) error {
			if len(files) == 0 {
				return usageError("which lists? Give the /run/netstage/image.hot or the reports of machines that streamed the image")
			}
			var lists [][]stream.Span
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					return err
				}
				list, err := hotList(text)
				if err != nil {
					return fmt.Errorf("%s: %w", file, err)
				}
				if len(list) > 0 {
					lists = append(lists, list)
				}
			}
			if len(lists) == 0 {
				return errors.New("no hot list: none of the reports is of an image that was streamed to its end")
			}
			merged := stream.FormatHot(stream.MergeHot(lists...))
			if *to == "" {
				_, err := std.out.Write(merged)
				return err
			}
			return output.Text(ctx, *to, merged)
		}), merges)
}

// hotList is a list's, or a report's; nothing of a report without one.
func hotList(text []byte) ([]stream.Span, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		return stream.ParseHot(text, math.MaxInt64)
	}
	r, err := report.Parse(text)
	if err != nil || r.Stream == nil {
		return nil, err
	}
	var list []stream.Span
	for _, read := range r.Stream.FirstReads {
		list = append(list, stream.Span{Off: read.Offset, Len: read.Length})
	}
	// A report comes from anywhere, and is held to what a list may say.
	return stream.ParseHot(stream.FormatHot(list), math.MaxInt64)
}

// writeHot writes what a list has of an image of so many bytes.
func writeHot(ctx context.Context, name string, text []byte, size int64) error {
	list, err := hotList(text)
	if err != nil {
		return err
	}
	if list, err = stream.ParseHot(stream.FormatHot(list), size); err != nil {
		return err
	}
	if len(list) == 0 {
		return fmt.Errorf("no range of it lies within the image's %d bytes", size)
	}
	return output.Text(ctx, name, stream.FormatHot(stream.MergeHot(list)))
}
