package vm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
)

// UEFI firmware, of Debian's package ovmf.
const (
	firmwareCode      = "/usr/share/OVMF/OVMF_CODE_4M.fd"
	firmwareVariables = "/usr/share/OVMF/OVMF_VARS_4M.fd"
)

// checkHost says which package is missing on this host, if one is.
func checkHost(c Config) error {
	if _, err := exec.LookPath(qemu); err != nil {
		return fmt.Errorf("%s is not installed: it is in the package qemu-system-x86 (nixpkgs: qemu)", qemu)
	}
	if c.UEFI {
		for _, file := range []string{firmwareCode, firmwareVariables} {
			if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%s is missing: it is in the package ovmf", file)
			}
		}
	}
	return nil
}
