package uki

import (
	"crypto/sha256"
	"debug/pe"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
)

// measured are the sections that systemd's stub measures, in its order, with
// the version from which on it does (systemd, src/fundamental/uki.h).
// Signatures of the measurements themselves are not among them.
var measured = []struct {
	name  string
	since int
}{
	{".linux", 252}, {".osrel", 252}, {".cmdline", 252}, {".initrd", 252}, {".ucode", 257}, {".splash", 252}, {".dtb", 252},
	{".uname", 253}, {".sbat", 253}, {".pcrpkey", 252},
}

// A Reader is a unified kernel image to look into.
type Reader struct {
	file *pe.File
	Stub int // version of systemd's stub
}

var stubVersion = regexp.MustCompile(`LoaderInfo: systemd-stub (\d+)`)

// Open looks into a file.
func Open(r io.ReaderAt) (*Reader, error) {
	f, err := pe.NewFile(r)
	if err != nil {
		return nil, fmt.Errorf("not a UEFI program: %w", err)
	}
	u := &Reader{file: f}
	if u.Section(".linux") == nil || u.Section(".initrd") == nil {
		return nil, errors.New("no unified kernel image: it has no kernel or no initrd")
	}
	if magic := u.Section(".sdmagic"); magic != nil {
		text, err := io.ReadAll(magic)
		if err != nil {
			return nil, err
		}
		if m := stubVersion.FindSubmatch(text); m != nil {
			u.Stub, _ = strconv.Atoi(string(m[1]))
		}
	}
	return u, nil
}

// Section reads a section as the stub sees it; nil where there is none.
func (u *Reader) Section(name string) io.Reader {
	s := u.file.Section(name)
	if s == nil {
		return nil
	}
	return io.NewSectionReader(s.ReaderAt, 0, int64(min(s.VirtualSize, s.Size)))
}

// PCR11 is what the stub leaves in PCR 11: each section's name and content.
func (u *Reader) PCR11() ([32]byte, error) {
	var pcr [32]byte
	extend := func(r io.Reader) error {
		h := sha256.New()
		if _, err := io.Copy(h, r); err != nil {
			return err
		}
		pcr = sha256.Sum256(h.Sum(pcr[:]))
		return nil
	}
	for _, m := range measured {
		s := u.Section(m.name)
		if s == nil || u.Stub < m.since {
			continue
		}
		name := sha256.Sum256([]byte(m.name + "\x00"))
		pcr = sha256.Sum256(slices.Concat(pcr[:], name[:]))
		if err := extend(s); err != nil {
			return pcr, fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return pcr, nil
}
