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
	"netstage/stage1/kmod"
	"netstage/stage1/root"
)

// The places a NixOS stage 1 uses (nixpkgs: stage-1-init.sh).
const (
	secrets  = "/.initrd-secrets"
	modprobe = "/sbin/modprobe"
)

// pseudo mounts the special file systems and makes the files that tools
// expect in an initrd. It starts with taking down what an earlier attempt may
// have left.
func (b *Boot) pseudo(context.Context) error {
	if err := errors.Join(root.TakeDown(), mount.Discard(image.Dir)); err != nil {
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
	return errors.Join(err, ownModprobe())
}

// ownModprobe makes the kernel's own requests for modules reach this binary.
func ownModprobe() error {
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
	return kmod.SetModprobe("/proc", modprobe)
}

// keymapFile has the keys of consoles where they are not American ones.
const keymapFile = "/etc/netstage/keymap"

// readConfig reads the kernel command line and the initrd's own parameters.
func (b *Boot) readConfig(context.Context) error {
	b.clock.raise(b.Log, b.Built)
	var wrong []error
	b.config, wrong = LoadConfig()
	b.record.Config = b.config
	if err := keymap.Load(keymapFile, "/dev/tty0"); err != nil {
		b.Log.Warn("keyboard", "err", err)
	}
	b.heart.Start(b.config.Watchdog, b.Heartbeat)
	if why := b.config.Policy.WhyNoShell; why != "" {
		b.Log.Error("no shell will be offered: " + why)
	}
	if len(b.config.Refused) > 0 {
		b.Log.Warn("the initrd's policy allows no shell: passing over " + strings.Join(b.config.Refused, " and "))
	}
	if b.Configure != nil {
		b.Configure(b.config)
	}
	if b.config.SSH {
		if err := b.shells.serve(b.SSH); err != nil {
			wrong = append(wrong, err)
		}
	}
	return config.Complaint(wrong)
}
