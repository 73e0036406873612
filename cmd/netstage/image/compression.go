package image

import (
	"fmt"
	"strconv"
	"strings"
)

// A Compression is an algorithm and its level. The zero value stands for the
// default of nixpkgs, zstd at level 19.
type Compression struct {
	Algorithm string // "zstd", "gzip" or "xz"
	Level     int    // 0: the algorithm's default
}

// algorithms lists what kernels of distributions can decompress.
var algorithms = []struct {
	name                string
	lowest, best, usual int
}{
	{"zstd", 1, 22, 19},
	{"gzip", 1, 9, 9},
	{"xz", 0, 0, 0},
}

// ParseCompression reads ALGORITHM or ALGORITHM:LEVEL.
func ParseCompression(s string) (Compression, error) {
	name, level, found := strings.Cut(s, ":")
	c := Compression{Algorithm: name}
	if found {
		n, err := strconv.Atoi(level)
		if err != nil {
			return Compression{}, fmt.Errorf("compression level %q is no number", level)
		}
		return c.WithLevel(n)
	}
	return c, c.check()
}

// WithLevel returns the algorithm at another level.
func (c Compression) WithLevel(level int) (Compression, error) {
	if level == 0 {
		return Compression{}, fmt.Errorf("compression level 0 does not exist")
	}
	c.Level = level
	return c, c.check()
}

func (c Compression) check() error {
	for _, a := range algorithms {
		if a.name != c.Algorithm {
			continue
		}
		switch {
		case c.Level == 0:
			return nil
		case a.best == 0:
			return fmt.Errorf("%s has no levels", a.name)
		case c.Level < a.lowest || c.Level > a.best:
			return fmt.Errorf("%s has levels %d to %d, not %d", a.name, a.lowest, a.best, c.Level)
		}
		return nil
	}
	return fmt.Errorf("unknown compression %q: zstd, gzip and xz are known", c.Algorithm)
}

// arguments are mksquashfs's for this compression.
func (c Compression) arguments() []string {
	if c.Algorithm == "" {
		c.Algorithm = "zstd"
	}
	args := []string{"-comp", c.Algorithm}
	if c.Algorithm == "xz" {
		return append(args, "-Xdict-size", "100%")
	}
	for _, a := range algorithms {
		if a.name == c.Algorithm && c.Level == 0 {
			c.Level = a.usual
		}
	}
	return append(args, "-Xcompression-level", strconv.Itoa(c.Level))
}
