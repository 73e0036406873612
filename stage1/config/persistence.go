package config

import "netstage/stage1/fault"

// MayPersist refuses a root that only the command line asks for, where the
// initrd wants that something vouches for what is booted: units and settings on
// that disk would be, too.
func (c Config) MayPersist() error {
	if c.OwnPersistence || !c.Vouching {
		return nil
	}
	return fault.Errorf(fault.Policy, "boot.persistence=: the initrd wants that something vouches for what is booted, and nothing does for that disk; allow it in %s", OwnParameters)
}
