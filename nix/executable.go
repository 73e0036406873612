package nix

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// A header is what the kernel's binary loaders recognise a program by.
type header int

const (
	script header = iota // #! and an interpreter
	binary               // ELF
)

// proveExecutable tells whether the kernel would execute the resolved path
// inside root: a regular file with an execute bit, either a script or an ELF
// program of this machine, whose interpreter is there and executable too.
func proveExecutable(root, name string) (header, error) {
	return prove(root, name, 0)
}

func prove(root, name string, depth int) (header, error) {
	// The kernel follows at most five interpreters (fs/exec.c,
	// exec_binprm).
	if depth > 5 {
		return 0, fmt.Errorf("%s: too many interpreters", name)
	}
	file, err := os.Open(filepath.Join(root, name))
	if err != nil {
		return 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return 0, err
	case !info.Mode().IsRegular():
		return 0, fmt.Errorf("%s is no regular file", name)
	case info.Mode().Perm()&0o111 == 0:
		return 0, fmt.Errorf("%s is not executable (mode %04o)", name, info.Mode().Perm())
	}
	// BINPRM_BUF_SIZE: what the kernel reads to recognise a program.
	start := make([]byte, 256)
	n, err := io.ReadFull(file, start)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	start = start[:n]

	kind, interpreter := binary, ""
	switch {
	case bytes.HasPrefix(start, []byte("#!")):
		kind = script
		if interpreter = shebang(start); interpreter == "" {
			return 0, fmt.Errorf("%s: #! names no interpreter", name)
		}
	case bytes.HasPrefix(start, []byte(elf.ELFMAG)):
		if interpreter, err = loader(file); err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
	default:
		return 0, fmt.Errorf("%s is neither a script nor an ELF program", name)
	}
	if interpreter == "" {
		return kind, nil
	}
	resolved, err := Resolve(root, interpreter)
	if err != nil {
		return 0, fmt.Errorf("%s needs %s: %w", name, interpreter, err)
	}
	if _, err := prove(root, resolved, depth+1); err != nil {
		return 0, fmt.Errorf("%s needs %s: %w", name, interpreter, err)
	}
	return kind, nil
}

// shebang cuts the interpreter out of a script's first line.
func shebang(start []byte) string {
	line, _, _ := bytes.Cut(start[2:], []byte("\n"))
	fields := strings.Fields(string(line))
	if len(fields) == 0 {
		return ""
	}
	return fields[0]
}

// loader returns the dynamic loader an ELF program asks for (PT_INTERP), or
// "" for a static one. A program of another machine is an error.
func loader(file io.ReaderAt) (string, error) {
	program, err := elf.NewFile(file)
	if err != nil {
		return "", err
	}
	if program.Machine != machine {
		return "", fmt.Errorf("a program for %s, this machine is %s", program.Machine, machine)
	}
	for _, p := range program.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		const pathMax = 4096
		if p.Filesz > pathMax {
			return "", fmt.Errorf("its dynamic loader's name has %d bytes", p.Filesz)
		}
		name := make([]byte, p.Filesz)
		if _, err := p.ReadAt(name, 0); err != nil {
			return "", fmt.Errorf("read the dynamic loader's name: %w", err)
		}
		return strings.TrimRight(string(name), "\x00"), nil
	}
	return "", nil
}
