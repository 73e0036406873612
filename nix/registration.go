package nix

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
)

// StoreDir is where the store of a NixOS system is.
const StoreDir = "/nix/store"

// A ValidPath is what Nix's database knows of a store path.
type ValidPath struct {
	Path       string
	NarHash    string // SHA-256 of the path's NAR, in any of Nix's notations
	NarSize    int64  // bytes
	Deriver    string // may be empty, and need not exist
	References []string
}

// ParseRegistration reads what "nix-store --dump-db" prints and closureInfo of
// nixpkgs writes: for each path its name, hash, size, deriver, number of
// references and the references, a line each (nix: decodeValidPathInfo in
// src/libstore/store-api.cc).
func ParseRegistration(r io.Reader) ([]ValidPath, error) {
	lines := bufio.NewScanner(r)
	number := 0
	next := func() string {
		if number++; lines.Scan() {
			return lines.Text()
		}
		return ""
	}
	var paths []ValidPath
	for lines.Scan() {
		number++
		p := ValidPath{Path: lines.Text(), NarHash: next()}
		size, deriver, count := next(), next(), next()
		bytes, err := strconv.ParseInt(size, 10, 64)
		n, countErr := strconv.ParseUint(count, 10, 31)
		if err := errors.Join(err, countErr); err != nil {
			return nil, fmt.Errorf("registration of store paths, line %d: %w", number, err)
		}
		p.NarSize, p.Deriver = bytes, deriver
		for range n {
			reference := next()
			if reference == "" {
				return nil, fmt.Errorf("registration of store paths, line %d: %s has %d references, they end before", number, p.Path, n)
			}
			p.References = append(p.References, reference)
		}
		if !isStorePath(p.Path) {
			return nil, fmt.Errorf("registration of store paths: %q is no store path", p.Path)
		}
		if _, err := ParseSHA256(p.NarHash); err != nil {
			return nil, fmt.Errorf("registration of %s: %w", p.Path, err)
		}
		paths = append(paths, p)
	}
	return paths, lines.Err()
}

func isStorePath(p string) bool {
	return path.IsAbs(p) && IsStoreName(path.Base(p))
}

// WriteRegistration writes what "nix-store --load-db" reads, sorted by path and
// without derivers: they are not part of an image, and a store that was built
// elsewhere may name others.
func WriteRegistration(w io.Writer, paths []ValidPath) error {
	paths = slices.SortedFunc(slices.Values(paths), func(a, b ValidPath) int { return strings.Compare(a.Path, b.Path) })
	out := bufio.NewWriter(w)
	for _, p := range paths {
		fmt.Fprintf(out, "%s\n%s\n%d\n\n%d\n", p.Path, p.NarHash, p.NarSize, len(p.References))
		for _, reference := range slices.Sorted(slices.Values(p.References)) {
			fmt.Fprintln(out, reference)
		}
	}
	return out.Flush()
}

// CheckClosed returns an error when a path refers to one that is not among
// them.
func CheckClosed(paths []ValidPath) error {
	have := map[string]bool{}
	for _, p := range paths {
		have[p.Path] = true
	}
	for _, p := range paths {
		for _, reference := range p.References {
			if !have[reference] {
				return fmt.Errorf("%s refers to %s, which is missing", p.Path, reference)
			}
		}
	}
	return nil
}
