// Package uki makes unified kernel images: kernel, initrd, command line and
// what they are, in one UEFI program that can be signed for Secure Boot. Its
// sections are those of the UAPI group's specification, its first instructions
// those of systemd's stub.
//
// https://uapi-group.org/specifications/specs/unified_kernel_image/
package uki

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"netstage/cmd/netstage/internal/output"
)

// Options are what an image is made of.
type Options struct {
	Stub      string   // systemd's; "" for the one of this host for the kernel's machine
	Kernel    string   // a bzImage, or an arm64 Image
	Initrds   []string // joined in this order, each at a multiple of four bytes
	Cmdline   string
	OSRelease string // the text of an os-release file; "" for one that says netstage
	Uname     string // the kernel's release; "" to read it from the kernel
	Output    string

	// Key and Cert are files in PEM by which sbsign signs; both or none.
	Key, Cert string
}

// Result is what was made.
type Result struct {
	Size     int64
	Uname    string
	Stub     string
	Sections []string // in order, with the stub's own first
}

// mostCmdline is what x86 kernels keep of a command line, without the zero at
// its end (COMMAND_LINE_SIZE); arm64's keep as much.
const mostCmdline = 2047

// check complains of everything at once.
func (o Options) check() error {
	var wrong []error
	if o.Kernel == "" {
		wrong = append(wrong, errors.New("no kernel is given"))
	}
	if len(o.Initrds) == 0 {
		wrong = append(wrong, errors.New("no initrd is given"))
	}
	if (o.Key == "") != (o.Cert == "") {
		wrong = append(wrong, errors.New("a signature needs both a key and its certificate"))
	}
	if n := len(o.Cmdline); n > mostCmdline {
		wrong = append(wrong, fmt.Errorf("the command line has %d bytes; kernels keep %d", n, mostCmdline))
	}
	if strings.ContainsFunc(o.Cmdline, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		wrong = append(wrong, errors.New("the command line holds control characters"))
	}
	return errors.Join(wrong...)
}

// Build writes the image to o.Output, or nothing there.
func Build(ctx context.Context, o Options) (Result, error) {
	if err := o.check(); err != nil {
		return Result{}, err
	}
	kernel, err := readKernel(o.Kernel)
	if err != nil {
		return Result{}, fmt.Errorf("kernel %s: %w", o.Kernel, err)
	}
	if o.Uname == "" {
		o.Uname = kernel.release
	}
	if o.Stub == "" {
		if o.Stub, err = findStub(kernel.machine); err != nil {
			return Result{}, err
		}
	}
	if o.OSRelease == "" {
		o.OSRelease = osRelease(o.Uname)
	}
	added := []section{text(".osrel", o.OSRelease), text(".cmdline", o.Cmdline+"\x00")}
	if o.Uname != "" {
		added = append(added, text(".uname", o.Uname))
	}
	initrd, err := joined(o.Initrds)
	if err != nil {
		return Result{}, err
	}
	// Stubs that start the kernel in place want it last: it grows.
	added = append(added, initrd, section{name: ".linux", code: true, size: kernel.size, open: opener(o.Kernel)})

	b, err := os.ReadFile(o.Stub)
	if err != nil {
		return Result{}, err
	}
	s, err := readStub(b, len(added))
	if err != nil {
		return Result{}, fmt.Errorf("stub %s: %w", o.Stub, err)
	}
	if got := s.machine(); got != kernel.machine {
		return Result{}, fmt.Errorf("stub %s is for %s, the kernel %s for %s", o.Stub, got, o.Kernel, kernel.machine)
	}
	r := Result{Uname: o.Uname, Stub: o.Stub, Sections: s.names()}
	for _, x := range added {
		r.Sections = append(r.Sections, x.name)
	}
	r.Size, err = o.write(ctx, s, added)
	return r, err
}

// write writes and signs.
func (o Options) write(ctx context.Context, s *stub, added []section) (size int64, err error) {
	err = output.Write(ctx, o.Output, 0o644, func(w *output.Writer) error {
		if _, err := s.write(w, added); err != nil || o.Key == "" {
			return err
		}
		return sign(ctx, w.Path(), o.Key, o.Cert)
	})
	if err != nil {
		return 0, err
	}
	info, err := os.Stat(o.Output)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func text(name, content string) section {
	return section{name: name, size: int64(len(content)), open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(content)), nil
	}}
}

func opener(file string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return os.Open(file) }
}

// joined is a section of several files. The kernel looks for the next archive
// at a multiple of four bytes.
func joined(files []string) (section, error) {
	var sizes []int64
	var total int64
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			return section{}, err
		}
		if !info.Mode().IsRegular() {
			return section{}, fmt.Errorf("%s is no regular file", file)
		}
		sizes = append(sizes, info.Size())
		total = up(total, 4) + info.Size()
	}
	open := func() (io.ReadCloser, error) {
		var parts []io.Reader
		var opened multiCloser
		var at int64
		for i, file := range files {
			f, err := os.Open(file)
			if err != nil {
				opened.Close()
				return nil, err
			}
			opened = append(opened, f)
			parts = append(parts, bytes.NewReader(make([]byte, up(at, 4)-at)), f)
			at = up(at, 4) + sizes[i]
		}
		return struct {
			io.Reader
			io.Closer
		}{io.MultiReader(parts...), opened}, nil
	}
	return section{name: ".initrd", size: total, open: open}, nil
}

type multiCloser []io.Closer

func (c multiCloser) Close() error {
	var errs []error
	for _, x := range c {
		errs = append(errs, x.Close())
	}
	return errors.Join(errs...)
}

// osRelease says what boots, for boot menus: they show PRETTY_NAME.
func osRelease(release string) string {
	return "ID=netstage\nNAME=netstage\nPRETTY_NAME=\"netstage, Linux " + release + "\"\n"
}
