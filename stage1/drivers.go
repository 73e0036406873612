package stage1

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"netstage/stage1/kmod"
)

// openModules indexes the modules that the initrd holds for this kernel.
func (b *Boot) openModules(context.Context) error {
	if b.drivers != nil {
		return nil
	}
	var uname unix.Utsname
	if err := unix.Uname(&uname); err != nil {
		return fmt.Errorf("ask for the kernel's version: %w", err)
	}
	dir := filepath.Join("/lib/modules", unix.ByteSliceToString(uname.Release[:]))
	index, err := kmod.Open(dir)
	if errors.Is(err, os.ErrNotExist) {
		b.Log.Warn(fmt.Sprintf("the initrd has no %s: only drivers built into the kernel work", dir))
		return nil
	}
	if err != nil {
		return err
	}
	rules, err := kmod.ReadConfigDirs("/etc/modprobe.d")
	if err != nil {
		b.Log.Warn(fmt.Sprintf("some module options are ignored: %v", err))
	}
	for _, p := range b.config.Modules {
		if p.Key == "modprobe.blacklist" || p.Key == "module_blacklist" {
			rules.Blacklist(strings.Split(p.Value, ",")...)
		} else {
			rules.KernelParam(p.Key, p.Value, p.HasValue)
		}
	}
	index.Use(rules)
	b.shareRules(rules)
	b.drivers = kmod.NewLoader(index, b.Log)
	return nil
}

// shareRules tells the modprobe that the kernel starts what the command line
// says of modules.
func (b *Boot) shareRules(rules *kmod.Config) {
	var text bytes.Buffer
	rules.WriteTo(&text)
	err := os.MkdirAll("/run/modprobe.d", 0o755)
	if err == nil {
		err = os.WriteFile("/run/modprobe.d/cmdline.conf", text.Bytes(), 0o644)
	}
	if err != nil {
		b.Log.Warn(fmt.Sprintf("modules that the kernel asks for get no options of the command line: %v", err))
	}
}

// loadDrivers loads what the hardware asks for, and goes on doing so for
// devices that appear later.
func (b *Boot) loadDrivers(ctx context.Context) error {
	if b.drivers == nil {
		return nil
	}
	if err := b.drivers.Listen(); err != nil {
		b.Log.Warn(fmt.Sprintf("drivers of devices that appear later will not be loaded: %v", err))
	} else if b.hotplug == nil {
		defer func() { b.hotplug = inBackground(b.drivers.Hotplug) }()
	}
	report, err := b.drivers.Coldplug(ctx, "/sys")
	if len(report.Loaded) > 0 {
		b.Log.Info("drivers: " + strings.Join(report.Loaded, " "))
	}
	return err
}

func (b *Boot) stopHotplug() {
	if b.hotplug == nil {
		return
	}
	if err := b.hotplug.stop(); err != nil {
		b.Log.Warn(fmt.Sprintf("drivers of late devices: %v", err))
	}
	b.hotplug = nil
	b.drivers.Close()
}

// loadFileSystems loads what mounting an image takes. A driver that is not
// there may be built in; mounting will tell.
func (b *Boot) loadFileSystems(ctx context.Context) error {
	if b.drivers == nil {
		return nil
	}
	return mayBeBuiltIn(b.drivers.Load(ctx, "loop", "overlay", "squashfs"))
}

// mayBeBuiltIn drops the complaints of a Load about modules that are not
// there.
func mayBeBuiltIn(err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		if errors.Is(err, kmod.ErrNotFound) {
			return nil
		}
		return err
	}
	var rest []error
	for _, err := range joined.Unwrap() {
		rest = append(rest, mayBeBuiltIn(err))
	}
	return errors.Join(rest...)
}
