package config

import (
	"path"

	"netstage/mount/block"
	"netstage/stage1/cmdline"
)

// readStorage reads a parameter that is about disks, as stage-1-init.sh has
// them.
func (c *Config) readStorage(p cmdline.Param, complain func(string, ...any)) {
	device := func() string {
		if _, err := block.ParseName(p.Value); err != nil {
			complain("%s=: %w", p.Key, err)
		}
		return p.Value
	}
	switch p.Key {
	case "root":
		// It is on many a command line of another system's.
		if _, err := block.ParseName(p.Value); err == nil {
			c.Root = p.Value
		}
	case "findiso":
		if c.FindISO = p.Value; !path.IsAbs(p.Value) {
			complain("findiso=%s: want the absolute path of a file on a disk", p.Value)
		}
	case "copytoram":
		c.CopyToRAM = true
	case "boot.persistence":
		c.Persistence = device()
	case "boot.persistence.opt":
		c.PersistenceOpt = p.Value
	}
}
