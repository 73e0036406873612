package config

import (
	"os"
	"path/filepath"

	"netstage/stage1/fault"
)

// MayPersist refuses a root that only the command line asks for, where the
// initrd wants that something vouches for what is booted: units and settings on
// that disk would be, too.
func (c Config) MayPersist(root string) error {
	_, err := os.Stat(filepath.Join(root, TrustedKeys))
	if c.OwnPersistence || !c.Policy.RequireVouched && err != nil {
		return nil
	}
	return fault.Errorf(fault.Policy, "boot.persistence=: the initrd wants that something vouches for what is booted, and nothing does for that disk; allow it in %s", OwnParameters)
}
