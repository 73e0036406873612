package stage1

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"netstage/mount"
	"netstage/stage1/config"
	"netstage/stage1/image"
	"netstage/stage1/keymap"
)

// The places a NixOS stage 1 uses (nixpkgs: stage-1-init.sh).
const (
	newRoot  = config.NewRoot
	secrets  = "/.initrd-secrets"
	modprobe = "/sbin/modprobe"

	// layersDir holds the two layers of a whole-root image.
	layersDir = "/run/netstage"
)

// pseudo mounts the special file systems and makes the files that tools
// expect in an initrd. It starts with taking down what an earlier attempt may
// have left.
func (b *Boot) pseudo(context.Context) error {
	if err := errors.Join(mount.TakeDown(newRoot, layersDir), mount.Discard(image.Dir)); err != nil {
		return err
	}
	if err := mount.MountMissing(mount.Pseudo); err != nil {
		return err
	}
	if err := mount.SpecialFiles("/"); err != nil {
		return err
	}
	n, err := mount.CopySecrets(secrets, "/")
	if n > 0 {
		b.Log.Info(fmt.Sprintf("secrets: copied %d files of the initrd to their places", n))
	}
	return errors.Join(err, b.ownModprobe())
}

// ownModprobe makes the kernel's own requests for modules reach this binary.
// A kernel without modules has no such file.
func (b *Boot) ownModprobe() error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	for _, link := range []string{modprobe, "/bin/sh"} {
		if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(exe, link); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return setModprobe(modprobe)
}

// setModprobe tells the kernel which program loads modules
// (Documentation/admin-guide/sysctl/kernel.rst).
func setModprobe(path string) error {
	err := os.WriteFile("/proc/sys/kernel/modprobe", []byte(path), 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// keymapFile has the keys of consoles where they are not American ones.
const keymapFile = "/etc/netstage/keymap"

// readConfig reads the kernel command line and the initrd's own parameters.
func (b *Boot) readConfig(context.Context) error {
	b.raiseClock()
	var wrong []error
	b.config, wrong = LoadConfig()
	if err := keymap.Load(keymapFile, "/dev/tty0"); err != nil {
		b.Log.Warn(fmt.Sprintf("keyboard: %v", err))
	}
	if b.services.stopHeartbeat == nil {
		b.services.stopHeartbeat = startHeartbeat(&b.heart, b.config.Watchdog, b.Beat)
	}
	if why := b.config.Policy.WhyNoShell; why != "" {
		b.Log.Error("no shell will be offered: " + why)
	}
	if len(b.config.Refused) > 0 {
		b.Log.Warn("the initrd's policy allows no shell: passing over " + strings.Join(b.config.Refused, " and "))
	}
	if b.Configure != nil {
		b.Configure(b.config)
	}
	if err := b.serveShells(); err != nil {
		wrong = append(wrong, err)
	}
	return config.Complaint(wrong)
}
