package tpm

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// devices are the kernel's: with its resource manager, or without.
var devices = []string{"/dev/tpmrm0", "/dev/tpm0"}

// Open opens the machine's TPM. An error wraps fs.ErrNotExist where there is
// none. What it returns waits for the TPM as long as the driver does: whoever
// calls it must not depend on its answer.
func Open() (*TPM, error) {
	for _, name := range devices {
		// Not by package os, whose reads would not wait for an answer.
		fd, err := unix.Open(name, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("TPM: open %s: %w", name, err)
		}
		return New(func(command []byte) ([]byte, error) {
			if _, err := unix.Write(fd, command); err != nil {
				return nil, fmt.Errorf("write: %w", err)
			}
			answer := make([]byte, most)
			n, err := unix.Read(fd, answer)
			if err != nil {
				return nil, fmt.Errorf("read: %w", err)
			}
			return answer[:n], nil
		}, func() error { return unix.Close(fd) }), nil
	}
	return nil, fmt.Errorf("TPM: %w", fs.ErrNotExist)
}
