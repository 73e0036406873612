package uki

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// A machine is an architecture by its PE number.
type machine uint16

func (m machine) String() string {
	switch m {
	case pe.IMAGE_FILE_MACHINE_AMD64:
		return "x86_64"
	case pe.IMAGE_FILE_MACHINE_ARM64:
		return "aarch64"
	}
	return fmt.Sprintf("machine %#x", uint16(m))
}

// A kernel is what its first bytes say of it.
type kernel struct {
	machine machine
	release string // "" where it does not say
	size    int64
}

// readKernel reads a bzImage (Documentation/arch/x86/boot.rst) or an arm64
// Image (Documentation/arch/arm64/booting.rst): both are UEFI programs, if they
// were built with CONFIG_EFI_STUB.
func readKernel(file string) (kernel, error) {
	f, err := os.Open(file)
	if err != nil {
		return kernel{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return kernel{}, err
	}
	p, err := pe.NewFile(f)
	if err != nil {
		return kernel{}, errors.New("no UEFI program: want a bzImage or an Image with CONFIG_EFI_STUB")
	}
	defer p.Close()
	return kernel{machine(p.FileHeader.Machine), bzImageRelease(f), info.Size()}, nil
}

// bzImageRelease is the first word of the version string that the setup header
// points to, or "".
func bzImageRelease(f io.ReaderAt) string {
	const magic, pointer, base, longest = 0x202, 0x20e, 0x200, 256
	var head [2]byte
	mark := make([]byte, 4)
	if _, err := f.ReadAt(mark, magic); err != nil || string(mark) != "HdrS" {
		return ""
	}
	if _, err := f.ReadAt(head[:], pointer); err != nil {
		return ""
	}
	version := make([]byte, longest)
	n, _ := f.ReadAt(version, base+int64(binary.LittleEndian.Uint16(head[:])))
	text, _, found := bytes.Cut(version[:n], []byte{0})
	word, _, _ := strings.Cut(string(text), " ")
	if !found || strings.ContainsFunc(word, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return word
}

func (s *stub) machine() machine {
	return machine(binary.LittleEndian.Uint16(s.file[s.optional-20:]))
}

func (s *stub) names() []string {
	var names []string
	for i := range s.sections {
		name, _, _ := strings.Cut(string(s.file[s.table+i*headerSize:][:8]), "\x00")
		names = append(names, name)
	}
	return names
}

// stubDirs are where systemd's stubs lie: Debian's systemd-boot-efi, and a
// NixOS system's profile.
var stubDirs = []string{"/usr/lib/systemd/boot/efi", "/run/current-system/sw/lib/systemd/boot/efi", "/run/current-system/systemd/lib/systemd/boot/efi"}

// findStub looks for the host's stub.
func findStub(m machine) (string, error) {
	name := map[machine]string{pe.IMAGE_FILE_MACHINE_AMD64: "linuxx64.efi.stub", pe.IMAGE_FILE_MACHINE_ARM64: "linuxaa64.efi.stub"}[m]
	if name == "" {
		return "", fmt.Errorf("there is no stub of systemd's for %s", m)
	}
	for _, dir := range stubDirs {
		if _, err := os.Stat(dir + "/" + name); err == nil {
			return dir + "/" + name, nil
		}
	}
	return "", fmt.Errorf("%s is not installed: it is in Debian's package systemd-boot-efi, and in ${systemd}/lib/systemd/boot/efi; or give --stub FILE", name)
}
