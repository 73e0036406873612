// Package initrd packs the agent, kernel modules, firmware and files into a
// reproducible initramfs: the same input gives the same bytes on any machine.
package initrd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Options says what goes into an initrd.
type Options struct {
	// KernelModules is a lib/modules/VERSION folder, with depmod's files or
	// without.
	KernelModules string

	// Modules chooses drivers. Empty: every NIC driver of the kernel. A plain
	// name (or alias) narrows: only the drivers named, and the buses they are
	// on. "+NAME" adds to what there is otherwise, "?NAME" does where the
	// kernel has it, "-NAME" leaves one out that nothing else needs. What the
	// boot itself needs (loop, squashfs, erofs, overlay, packet sockets) is
	// always there, and so are dependencies.
	Modules []string

	// Disks adds the drivers of disks, for images and file systems on them.
	Disks bool

	// FileSystems adds those of file systems, by their types: ext4, vfat, …
	FileSystems []string

	// FirmwareDir is a lib/firmware folder; its files may be plain, .xz or
	// .zst. Those that the chosen modules name are packed, decompressed. Empty:
	// no firmware.
	FirmwareDir string

	// Files are put in as they are.
	Files []File

	// Programs are put in with their loader and their shared libraries, for the
	// checks of disks for instance.
	Programs []File

	// Init is the agent's binary, packed as /init.
	Init string

	// Compression is Zstd (the default, ""), ZstdSmall or None.
	Compression string
	// Prepend are archives that come first, as they are: the kernel looks for
	// microcode and ACPI tables only where nothing is compressed.
	Prepend []string
	// FirmwareFiles are packed from FirmwareDir although no module names them.
	FirmwareFiles []string
}

// The values of Options.Compression.
const (
	Zstd      = "zstd"
	ZstdSmall = "zstd-19" // by the zstd program: a tenth smaller, several times slower
	None      = "none"
)

// File is a file or a folder of the host and its absolute place in the initrd.
type File struct{ Source, Target string }

// Report says what an initrd holds.
type Report struct {
	Version         string        // of the kernel, as its modules name it
	Modules         []string      // names, sorted
	Builtin         []string      // of the ones asked for, those in the kernel itself
	Firmware        []string      // packed, relative to lib/firmware
	MissingFirmware []string      // "MODULE: FILE" that chosen modules name and FirmwareDir lacks
	WithFirmware    int           // modules that name firmware, where no FirmwareDir is given
	UnpackedFiles   int           // that these name
	Foreign         []string      // "MODULE: for RELEASE" of other kernels, which this one takes
	Size            int64         // bytes of the archive
	Compressed      int64         // bytes written
	Took            time.Duration // all of it
}

// Build writes an initrd to w. Nothing is written before all input is found
// good.
func Build(ctx context.Context, o Options, w io.Writer) (Report, error) {
	start := time.Now()
	var r Report
	fail := func(err error) (Report, error) { return r, fmt.Errorf("initrd: %w", err) }
	a := newArchive()
	if o.Init == "" {
		return fail(errors.New("no agent is given to become /init"))
	}
	init, err := os.ReadFile(o.Init)
	if err != nil {
		return fail(fmt.Errorf("agent: %w", err))
	}
	a.agent = init
	a.file("init", 0o755, init)
	if o.KernelModules != "" {
		if err := addModules(ctx, a, o, &r); err != nil {
			return fail(err)
		}
	}
	for _, f := range o.Files {
		if err := a.hostFile(f); err != nil {
			return fail(err)
		}
	}
	for _, f := range o.Programs {
		if err := a.program(f); err != nil {
			return fail(err)
		}
	}
	out := &counter{w: w}
	if err := prepend(out, o.Prepend); err != nil {
		return fail(err)
	}
	// What is compressed is complete before it is written: its length is to be
	// a multiple of four.
	var packed bytes.Buffer
	z, err := newCompressor(ctx, &packed, o.Compression)
	if err != nil {
		return fail(err)
	}
	plain := &counter{w: z}
	err = a.write(plain)
	if closeErr := z.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		_, err = out.Write(aligned(packed.Bytes()))
	}
	r.Size, r.Compressed, r.Took = plain.n, out.n, time.Since(start)
	if err != nil {
		return fail(err)
	}
	return r, nil
}

// counter counts the bytes on their way.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
