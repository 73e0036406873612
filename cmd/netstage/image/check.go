package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"netstage/cmd/netstage/internal/output"
	"netstage/nix"
)

// beside are the endings of what is written beside an image.
var beside = []string{".sha256", ".verity", ".roothash"}

// checkOutput returns the absolute path of the image to write.
func checkOutput(path string) (string, error) {
	path, err := output.Name(path)
	for _, suffix := range beside {
		if err == nil {
			_, err = output.Name(path + suffix)
		}
	}
	return path, err
}

// checkSource returns the absolute path of the folder to pack.
func checkSource(path, output string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(real); err != nil {
		return "", err
	} else if !info.IsDir() {
		return "", fmt.Errorf("%s is no folder", path)
	}
	if rel, err := filepath.Rel(real, output); err == nil && filepath.IsLocal(rel) {
		return "", fmt.Errorf("the image %s would lie inside the folder it packs", output)
	}
	return real, nil
}

// checkSources returns what to pack, and how many names that makes in the
// image.
func checkSources(ctx context.Context, o Options, output string) (sources []string, entries int, err error) {
	if o.Closure == nil {
		source, err := checkSource(o.Source, output)
		if err != nil {
			return nil, 0, err
		}
		entries, err := checkTree(ctx, source, o.WholeRoot)
		return []string{source}, entries, err
	}
	for _, path := range o.Closure.Paths {
		if !nix.IsStoreName(filepath.Base(path)) {
			return nil, 0, fmt.Errorf("%s is no store path", path)
		}
		if err := checkReadable(ctx, path); err != nil {
			return nil, 0, err
		}
	}
	return o.Closure.Paths, len(o.Closure.Paths) + 1, nil
}

// checkTree counts the entries of the folder and proves that mksquashfs will
// be able to read all below it: by itself it packs an empty file for one that
// it can't read, and succeeds.
func checkTree(ctx context.Context, source string, wholeRoot bool) (int, error) {
	entries, err := os.ReadDir(source)
	if err != nil {
		return 0, err
	}
	if len(entries) == 0 {
		return 0, fmt.Errorf("%s is empty", source)
	}
	if !wholeRoot {
		if err := checkStore(source, entries); err != nil {
			return 0, err
		}
	}
	return len(entries), checkReadable(ctx, source)
}

// checkReadable is checkTree for a file or folder without a look at its names.
func checkReadable(ctx context.Context, source string) error {
	var problems problems
	rootDevice := uint64(0)
	err := filepath.WalkDir(source, func(path string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			problems.add(err)
			return nil
		}
		switch {
		case d.IsDir():
			var st unix.Stat_t
			if err := unix.Lstat(path, &st); err != nil {
				problems.add(&fs.PathError{Op: "stat", Path: path, Err: err})
				return nil
			}
			if rootDevice == 0 {
				rootDevice = st.Dev
			}
			if name := kernelFS(path); st.Dev != rootDevice && name != "" {
				problems.add(fmt.Errorf("%s is a mounted %s: unmount it, or pack a copy without it", path, name))
				return filepath.SkipDir
			}
		case d.Type().IsRegular():
			if err := unix.Faccessat(unix.AT_FDCWD, path, unix.R_OK, unix.AT_EACCESS); err != nil {
				problems.add(&fs.PathError{Op: "read", Path: path, Err: err})
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return problems.err()
}

// checkStore refuses folders that hold anything but store paths.
func checkStore(source string, entries []fs.DirEntry) error {
	paths := 0
	var strangers []string
	for _, entry := range entries {
		switch {
		case nix.IsStoreName(entry.Name()):
			paths++
		case entry.Name() == nix.Registration && entry.Type().IsRegular():
		default:
			strangers = append(strangers, entry.Name())
		}
	}
	if len(strangers) > 0 {
		return fmt.Errorf("%s is no store: %s; store paths are named HASH-NAME with a HASH of 32 digits of Nix's base 32 (--root packs a whole root)",
			source, some(strangers))
	}
	if paths == 0 {
		return fmt.Errorf("%s holds no store path", source)
	}
	return nil
}

// kernelFS names the file system at path if it shows the kernel's state.
func kernelFS(path string) string {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return ""
	}
	switch int64(st.Type) {
	case unix.PROC_SUPER_MAGIC:
		return "proc"
	case unix.SYSFS_MAGIC:
		return "sysfs"
	case unix.DEVPTS_SUPER_MAGIC:
		return "devpts"
	case unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC:
		return "cgroup file system"
	}
	// A devtmpfs calls itself a tmpfs; this one tells it from others.
	if filepath.Base(path) == "dev" && unix.Access(filepath.Join(path, "null"), unix.F_OK) == nil {
		return "/dev"
	}
	return ""
}

// problems collects what is wrong with a tree, the first few to be shown.
type problems struct {
	first []error
	more  int
}

func (p *problems) add(err error) {
	if len(p.first) < 5 {
		p.first = append(p.first, err)
	} else {
		p.more++
	}
}

func (p *problems) err() error {
	if len(p.first) == 0 {
		return nil
	}
	var lines []string
	for _, err := range p.first {
		lines = append(lines, err.Error())
	}
	if p.more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", p.more))
	}
	return errors.New(strings.Join(lines, "; "))
}

// some quotes the first few of many names.
func some(names []string) string {
	var b strings.Builder
	for i, name := range names {
		if i == 3 {
			fmt.Fprintf(&b, " and %d more", len(names)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", name)
	}
	return b.String()
}
