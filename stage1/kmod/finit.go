package kmod

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"netstage/stage1/modindex"
)

// initCompressed is MODULE_INIT_COMPRESSED_FILE of linux/module.h (since 5.17).
const initCompressed = 4

// inserter gives one module file to the kernel.
type inserter struct {
	sysfs string
	// finit is finit_module(2); tests put their own here.
	finit func(fd int, params string, flags int) error
}

// insert loads a file. A compressed one is left to the kernel where it says
// that it can decompress that kind, and is decompressed here otherwise. op
// names what failed.
func (in *inserter) insert(path, params string) (op string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "open", unwrapPath(err)
	}
	defer f.Close()
	kind := modindex.CompressionOf(path)
	if kind == "" {
		return "finit_module", in.call(f, params, 0)
	}
	if in.kernelDecompresses(kind) {
		err := in.call(f, params, initCompressed)
		if !refusesCompressed(err) {
			return "finit_module", err
		}
	}
	plain, err := decompressed(f, kind)
	if err != nil {
		return "decompress", err
	}
	defer plain.Close()
	return "finit_module", in.call(plain, params, 0)
}

func (in *inserter) call(f *os.File, params string, flags int) error {
	for {
		if err := in.finit(int(f.Fd()), params, flags); err != unix.EINTR {
			return err
		}
	}
}

// kernelDecompresses reads what CONFIG_MODULE_DECOMPRESS makes visible; the
// kernel knows one kind only.
func (in *inserter) kernelDecompresses(kind string) bool {
	have, err := os.ReadFile(filepath.Join(in.sysfs, "module/compression"))
	return err == nil && strings.TrimSpace(string(have)) == kind
}

// refusesCompressed tells errors about the file's compression (an unknown
// flag, a dictionary too large, a check the kernel has not) from those about
// the module in it.
func refusesCompressed(err error) bool {
	for _, e := range []error{unix.EINVAL, unix.EOPNOTSUPP, unix.EBADMSG, unix.ENOEXEC} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// decompressed unpacks a module into a memory file, which finit_module takes
// like any other.
func decompressed(f *os.File, kind string) (*os.File, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate(filepath.Base(f.Name()), unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	plain := os.NewFile(uintptr(fd), f.Name())
	r, err := modindex.Decompress(f, kind)
	if err == nil {
		_, err = io.Copy(plain, r)
		r.Close()
	}
	if err != nil {
		plain.Close()
		return nil, err
	}
	return plain, nil
}

// unwrapPath keeps the errno of a path error; the path is named elsewhere.
func unwrapPath(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
