package image

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// mksquashfs packs into a new file: what is in one folder, or several store
// paths by their names.
func mksquashfs(ctx context.Context, o Options, sources []string, output string) error {
	stamp, err := creationTime()
	if err != nil {
		return err
	}
	said, err := run(ctx, command{
		program: "mksquashfs", from: "squashfs-tools (nixpkgs: squashfsTools)",
		args: arguments(o, sources, output, stamp), env: environment(), progress: o.Progress,
	})
	if err != nil {
		return err
	}
	// It calls it a success when a file vanishes or can't be read meanwhile.
	if strings.Contains(said, "empty file") || strings.Contains(said, "ignoring") {
		return fmt.Errorf("mksquashfs left something out: %s", said)
	}
	return nil
}

// arguments are those of nixpkgs' make-squashfs.nix, and those that keep
// everything but the tree out of the result.
func arguments(o Options, sources []string, output string, stamp int64) []string {
	args := append(slices.Clone(sources), output, "-noappend", "-no-recovery", "-exit-on-error",
		"-b", "1048576", "-root-mode", "0755", "-mkfs-time", strconv.FormatInt(stamp, 10))
	if o.Processors > 0 {
		args = append(args, "-processors", strconv.Itoa(o.Processors))
	}
	args = append(args, o.Compression.squashfs()...)
	if !o.WholeRoot {
		args = append(args, "-no-hardlinks", "-all-root", "-no-xattrs", "-all-time", "1")
	} else if o.AllRoot {
		args = append(args, "-all-root")
	}
	if o.Progress == nil {
		args = append(args, "-no-progress")
	}
	return append(args, "-quiet")
}

// creationTime is what the image says of its making, in seconds since 1970:
// SOURCE_DATE_EPOCH if that is set, as reproducible-builds.org defines it, else
// 1, the time stamp of everything in a Nix store.
func creationTime() (int64, error) {
	s := os.Getenv("SOURCE_DATE_EPOCH")
	if s == "" {
		return 1, nil
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("SOURCE_DATE_EPOCH=%s is no number of seconds since 1970 of 32 bits", s)
	}
	return int64(n), nil
}

// environment is this process's without SOURCE_DATE_EPOCH, which mksquashfs
// does not accept beside the options that say the same.
func environment() []string {
	var env []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "SOURCE_DATE_EPOCH=") {
			env = append(env, entry)
		}
	}
	return env
}
