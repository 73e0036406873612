package vm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// UEFI firmware, of Debian's package ovmf.
const (
	firmwareCode      = "/usr/share/OVMF/OVMF_CODE_4M.fd"
	firmwareVariables = "/usr/share/OVMF/OVMF_VARS_4M.fd"

	secureCode      = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"
	secureVariables = "/usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd"
)

// firmware are the files of a UEFI machine's firmware; none for BIOS.
func (c Config) firmware() (code, variables string) {
	switch {
	case c.SecureBoot:
		return secureCode, secureVariables
	case c.UEFI, c.EFI != "":
		return firmwareCode, firmwareVariables
	}
	return "", ""
}

// keepVariables makes the file that the firmware's variables are kept in, as a
// new machine has them.
func (c Config) keepVariables() error {
	_, variables := c.firmware()
	if _, err := os.Stat(c.Variables); c.Variables == "" || variables == "" || err == nil {
		return nil
	}
	text, err := os.ReadFile(variables)
	if err != nil {
		return err
	}
	return os.WriteFile(c.Variables, text, 0o600)
}

// systemPartition makes a folder in which firmware finds a program.
func systemPartition(program, dir string) error {
	program, err := filepath.Abs(program)
	if err != nil {
		return err
	}
	boot := filepath.Join(dir, "EFI", "BOOT")
	return errors.Join(os.MkdirAll(boot, 0o755), os.Symlink(program, filepath.Join(boot, "BOOTX64.EFI")))
}

// checkHost says which package is missing on this host, if one is.
func checkHost(c Config) error {
	if _, err := exec.LookPath(qemu); err != nil {
		return fmt.Errorf("%s is not installed: it is in the package qemu-system-x86 (nixpkgs: qemu)", qemu)
	}
	if code, variables := c.firmware(); code != "" {
		for _, file := range []string{code, variables} {
			if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%s is missing: it is in the package ovmf", file)
			}
		}
	}
	return nil
}
