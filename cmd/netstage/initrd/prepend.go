package initrd

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// prepend writes archives that the kernel reads before it unpacks anything: of
// microcode (kernel/x86/microcode/) and ACPI tables (kernel/firmware/acpi/). It
// looks at uncompressed archives in newc format only, the first of a file, each
// at a multiple of four bytes (lib/earlycpio.c).
func prepend(w io.Writer, files []string) error {
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("archive to begin with: %w", err)
		}
		if !bytes.HasPrefix(data, []byte("070701")) && !bytes.HasPrefix(data, []byte("070702")) {
			return fmt.Errorf("archive to begin with: %s is no cpio archive in newc format, or compressed: the kernel would not find what is in it", name)
		}
		if _, err := w.Write(append(data, make([]byte, -len(data)&3)...)); err != nil {
			return err
		}
	}
	return nil
}
