package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"netstage/mount"
	"netstage/mount/block"
)

// tableFile is a file of the initrd: the file systems that are needed for boot
// besides those of the netboot layout, in fstab(5)'s form and in the order in
// which they are mounted below the new root.
const tableFile = "/etc/netstage/fstab"

// readTable adds the initrd's table of file systems. What lies on a server
// needs the network, in stage 2 as well.
func (c *Config) readTable(file string) error {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the initrd's file systems: %w", err)
	}
	if c.FileSystems, err = mount.ParseTable(string(text)); err != nil {
		return fmt.Errorf("the initrd's file systems, %s: %w", file, err)
	}
	var wrong []error
	for _, e := range c.FileSystems {
		if e.Network() && !e.Has("noauto") {
			c.WantNetwork, c.KeepNetwork = true, true
		}
		if kind, name := e.Source(NewRoot); kind == mount.OnDevice {
			if _, err := block.ParseName(name); err != nil {
				wrong = append(wrong, fmt.Errorf("the initrd's file system %s: %w", e.Target, err))
			}
		}
	}
	return errors.Join(wrong...)
}
