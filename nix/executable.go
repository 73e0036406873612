package nix

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// A header is what the kernel's binary loaders recognise a program by.
type header int

const (
	scriptFile header = iota // #! and an interpreter
	elfFile
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

	kind, interpreter := elfFile, ""
	switch {
	case bytes.HasPrefix(start, []byte("#!")):
		kind = scriptFile
		if interpreter = shebang(start); interpreter == "" {
			return 0, fmt.Errorf("%s: #! names no interpreter", name)
		}
	case bytes.HasPrefix(start, []byte(elfMagic)):
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
