package image

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mkfsErofs packs into a new file. Compressed data begins at blocks, so that
// the unchanged files of another image of the series are equal blocks,
// wherever they lie in it.
func mkfsErofs(ctx context.Context, o Options, sources []string, work, output string) error {
	source := sources[0]
	if o.Closure != nil {
		source = filepath.Join(work, "store")
		defer scatter(source)
		if err := gather(ctx, source, sources); err != nil {
			return err
		}
	}
	stamp, err := epoch(o, source)
	if err != nil {
		return err
	}
	args := []string{"--quiet", "-U", o.uuid()}
	args = append(args, o.Compression.erofs()...)
	if !o.WholeRoot {
		args = append(args, "-T1", "--all-root", "-x-1")
	} else if o.AllRoot {
		args = append(args, "--all-root")
	}
	_, err = run(ctx, command{
		program: "mkfs.erofs", from: "erofs-utils", args: append(args, output, source),
		env: append(environment(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", stamp)), progress: o.Progress,
	})
	return err
}

// epoch is the time that mkfs.erofs writes into the image and puts in the
// place of later ones: the user's, else the latest in the tree, which changes
// none.
func epoch(o Options, source string) (int64, error) {
	stamp, err := creationTime()
	if err != nil || os.Getenv("SOURCE_DATE_EPOCH") != "" || !o.WholeRoot {
		return stamp, err
	}
	err = filepath.WalkDir(source, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return &fs.PathError{Op: "stat", Path: path, Err: err}
		}
		stamp = max(stamp, st.Mtim.Sec+1) // a part of a second is later
		return nil
	})
	return stamp, err
}

// gather copies store paths into one folder, since mkfs.erofs packs one. No
// file of the copy is a link to another: the image is to depend on what is in
// the files alone.
func gather(ctx context.Context, dir string, sources []string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("gather the store: %w", err)
	}
	args := append([]string{"-R", "--no-dereference", "--preserve=mode", "--reflink=auto", "--target-directory", dir, "--"}, sources...)
	if _, err := run(ctx, command{program: "cp", from: "coreutils", args: args}); err != nil {
		return fmt.Errorf("gather the store: %w", err)
	}
	return nil
}

// scatter removes the copy, whose folders nobody may write to.
func scatter(dir string) error {
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(path, 0o755)
		}
		return err
	})
	return os.RemoveAll(dir)
}
