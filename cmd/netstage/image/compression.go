package image

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Format is a file system that an image can be.
type Format string

const (
	Squashfs Format = "squashfs" // the smallest; a change moves what follows it
	Erofs    Format = "erofs"    // larger; an unchanged file stays the same blocks
)

// ParseFormat reads the name of a format.
func ParseFormat(s string) (Format, error) {
	if f := Format(s); f == Squashfs || f == Erofs {
		return f, nil
	}
	return "", fmt.Errorf("unknown format %q: squashfs and erofs are known", s)
}

// A Compression is an algorithm and its level. The zero value stands for the
// format's usual one: zstd at level 19 as in nixpkgs, or lz4hc at level 9.
type Compression struct {
	Algorithm string
	Level     int // 0: the algorithm's default
}

// algorithm has levels from lowest to best; none when best is 0.
type algorithm struct {
	name                string
	lowest, best, usual int
}

// algorithms are what kernels of distributions can decompress, the usual one
// first. An erofs of zstd needs Linux 6.10 and mkfs.erofs 1.8.
var algorithms = map[Format][]algorithm{
	Squashfs: {{"zstd", 1, 22, 19}, {"gzip", 1, 9, 9}, {"xz", 0, 0, 0}},
	Erofs:    {{"lz4hc", 1, 12, 9}, {"lz4", 0, 0, 0}, {"zstd", 1, 22, 19}, {"none", 0, 0, 0}},
}

// ParseCompression reads ALGORITHM or ALGORITHM:LEVEL for a format; nothing
// stands for the usual one.
func ParseCompression(f Format, s string) (Compression, error) {
	if s == "" {
		s = algorithms[f][0].name
	}
	name, level, found := strings.Cut(s, ":")
	c := Compression{Algorithm: name}
	if found {
		n, err := strconv.Atoi(level)
		if err != nil {
			return Compression{}, fmt.Errorf("compression level %q is no number", level)
		}
		return c.WithLevel(f, n)
	}
	return c, c.check(f)
}

// WithLevel returns the algorithm at another level.
func (c Compression) WithLevel(f Format, level int) (Compression, error) {
	if level == 0 {
		return Compression{}, fmt.Errorf("compression level 0 does not exist")
	}
	c.Level = level
	return c, c.check(f)
}

func (c Compression) check(f Format) error {
	i := slices.IndexFunc(algorithms[f], func(a algorithm) bool { return a.name == c.Algorithm })
	if i < 0 {
		var known []string
		for _, a := range algorithms[f] {
			known = append(known, a.name)
		}
		last := len(known) - 1
		return fmt.Errorf("unknown compression %q: %s and %s are known for %s", c.Algorithm, strings.Join(known[:last], ", "), known[last], f)
	}
	switch a := algorithms[f][i]; {
	case c.Level == 0:
		return nil
	case a.best == 0:
		return fmt.Errorf("%s has no levels", a.name)
	case c.Level < a.lowest || c.Level > a.best:
		return fmt.Errorf("%s has levels %d to %d, not %d", a.name, a.lowest, a.best, c.Level)
	}
	return nil
}

// withDefaults names algorithm and level; a level of 0 is one that does not exist.
func (c Compression) withDefaults(f Format) Compression {
	if c.Algorithm == "" {
		c.Algorithm = algorithms[f][0].name
	}
	for _, a := range algorithms[f] {
		if a.name == c.Algorithm && c.Level == 0 {
			c.Level = a.usual
		}
	}
	return c
}

// squashfs returns mksquashfs's arguments for this compression.
func (c Compression) squashfs() []string {
	c = c.withDefaults(Squashfs)
	if c.Algorithm == "xz" {
		return []string{"-comp", "xz", "-Xdict-size", "100%"}
	}
	return []string{"-comp", c.Algorithm, "-Xcompression-level", strconv.Itoa(c.Level)}
}

// erofs returns mkfs.erofs's arguments for this compression, in clusters of
// 64 KiB: what is compressed together, and changes together.
func (c Compression) erofs() []string {
	switch c = c.withDefaults(Erofs); {
	case c.Algorithm == "none":
		return nil
	case c.Level == 0:
		return []string{"-z" + c.Algorithm, "-C65536"}
	}
	return []string{"-z" + c.Algorithm + "," + strconv.Itoa(c.Level), "-C65536"}
}
