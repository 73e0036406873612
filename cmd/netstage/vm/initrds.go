package vm

import (
	"fmt"
	"io"
	"os"
)

// joinInitrds returns the path of all initrds in one file, for QEMU, which
// takes only one; "" when there are none. It is written to joined if need be.
func joinInitrds(initrds []string, joined string) (path string, err error) {
	switch len(initrds) {
	case 0:
		return "", nil
	case 1:
		return initrds[0], nil
	}
	out, err := os.Create(joined)
	if err != nil {
		return "", err
	}
	defer out.Close()
	for _, initrd := range initrds {
		if err := appendInitrd(out, initrd); err != nil {
			return "", fmt.Errorf("join the initrds: %w", err)
		}
	}
	return joined, out.Close()
}

// appendInitrd copies an initrd and fills up with zeros to where the kernel
// looks for the next archive (init/initramfs.c).
func appendInitrd(out io.Writer, initrd string) error {
	in, err := os.Open(initrd)
	if err != nil {
		return err
	}
	defer in.Close()
	n, err := io.Copy(out, in)
	if err != nil {
		return err
	}
	_, err = out.Write(make([]byte, (4-n%4)%4))
	return err
}
