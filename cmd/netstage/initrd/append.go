package initrd

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"netstage/cmd/netstage/internal/output"

	"github.com/u-root/u-root/pkg/cpio"
	"golang.org/x/sys/unix"
)

// most is the size that an initrd has to stay below: the kernel reads no larger
// file for kexec (INT_MAX in kernel_read_file), and boot loaders fail likewise
// (nixpkgs#203593).
const most = 1<<31 - 1

// A TooLargeError says that files don't fit into an initrd.
type TooLargeError struct{ Initrd, Files int64 } // bytes

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("initrd and image together have %d MiB: kernels and boot loaders fail at 2048 MiB (nixpkgs#203593); make the image smaller, or have it fetched by rootfs=",
		(e.Initrd+e.Files)>>20)
}

// Append writes the initrd at base to the file output, followed by an
// uncompressed archive with the files: the image of the all-in-one format, say,
// which is compressed already. The output is replaced when it is complete.
func Append(ctx context.Context, base string, files []File, name string) error {
	in, err := os.Open(base)
	if err != nil {
		return fmt.Errorf("initrd: %w", err)
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return fmt.Errorf("initrd: %w", err)
	}
	var records []cpio.Record
	total := int64(0)
	for _, f := range files {
		file, err := os.Open(f.Source)
		if err != nil {
			return fmt.Errorf("file for %s: %w", f.Target, err)
		}
		defer file.Close()
		stat, err := file.Stat()
		if err == nil && !stat.Mode().IsRegular() {
			err = errors.New("no regular file")
		}
		if err != nil {
			return fmt.Errorf("file for %s: %w", f.Target, err)
		}
		total += stat.Size()
		records = append(records, cpio.Record{ReaderAt: file, Info: cpio.Info{
			Name: strings.TrimPrefix(path.Clean(f.Target), "/"), Mode: unix.S_IFREG | 0o444,
			FileSize: uint64(stat.Size()), Ino: uint64(len(records) + 1), NLink: 1,
		}})
	}
	if info.Size()+total >= most {
		return &TooLargeError{info.Size(), total}
	}
	return output.Write(ctx, name, 0o644, func(w *output.Writer) error {
		buffer := bufio.NewWriterSize(w, 1<<20)
		return cmp.Or(join(buffer, in, info.Size(), records), buffer.Flush())
	})
}

// join pads the initrd to the four bytes at which the kernel looks for the next
// archive (usr/initramfs.c).
func join(w io.Writer, base io.Reader, size int64, records []cpio.Record) error {
	if _, err := io.CopyN(w, base, size); err != nil {
		return err
	}
	if _, err := w.Write(make([]byte, -size&3)); err != nil {
		return err
	}
	archive := cpio.Newc.Writer(w)
	for _, r := range records {
		if err := archive.WriteRecord(r); err != nil {
			return fmt.Errorf("/%s: %w", r.Name, err)
		}
	}
	return cpio.WriteTrailer(archive)
}
