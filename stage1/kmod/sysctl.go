package kmod

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// SetModprobe tells the kernel which program loads modules
// (Documentation/admin-guide/sysctl/kernel.rst); proc is where /proc is. A kernel
// without modules has no such file.
func SetModprobe(proc, path string) error {
	err := os.WriteFile(filepath.Join(proc, "sys/kernel/modprobe"), []byte(path), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
