package stage1

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"netstage/stage1/kmod"
	"netstage/stage1/step"
)

// openModules indexes the modules that the initrd holds for this kernel.
func (b *Boot) openModules(context.Context) error {
	if b.drivers != nil {
		return nil
	}
	release, err := kmod.Release()
	if err != nil {
		return err
	}
	index, err := kmod.Open(filepath.Join("/lib/modules", release))
	if errors.Is(err, os.ErrNotExist) {
		b.Log.Warn("modules: " + b.noModules())
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
	b.index, b.drivers = index, kmod.NewLoader(index, b.Log)
	return nil
}

// noModules tells that the initrd was made for another kernel.
func (b *Boot) noModules() string {
	release, _ := kmod.Release()
	text := "the initrd has no modules for this kernel, " + release
	others, err := filepath.Glob("/lib/modules/*")
	switch {
	case err != nil || len(others) == 0:
	case filepath.Base(others[0]) == release:
		text += " (its folder has no modules.dep)"
	default:
		text += ", only for " + filepath.Base(others[0])
	}
	return text + "; drivers that are built in have to do"
}

// sharedRules is for the modprobe that the kernel starts until the hand-over;
// that of stage 2 has a configuration of its own.
const sharedRules = "/run/modprobe.d/cmdline.conf"

// shareRules tells the modprobe that the kernel starts what the command line
// says of modules.
func (b *Boot) shareRules(rules *kmod.Config) {
	var text bytes.Buffer
	rules.WriteTo(&text)
	err := os.MkdirAll(filepath.Dir(sharedRules), 0o755)
	if err == nil {
		err = os.WriteFile(sharedRules, text.Bytes(), 0o600)
	}
	if err != nil {
		b.Log.Warn(fmt.Sprintf("modules that the kernel asks for get no options of the command line: %v", err))
	}
}

// unshareRules leaves nothing of the command line for the modprobe of stage 2,
// which runs the commands that it finds in such files.
func unshareRules() error {
	err := os.Remove(sharedRules)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
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
		defer func() { b.hotplug = step.InBackground(b.drivers.Hotplug) }()
	}
	if err := b.coldplug(ctx); err != nil {
		return err
	}
	for _, missing := range b.undriven() {
		b.Log.Warn(missing)
	}
	ctx, cancel := context.WithTimeout(ctx, driverPatience)
	defer cancel()
	b.loadFirmwareTable(ctx)
	b.loadForced(ctx)
	return nil
}

// driverPatience is how long the boot waits for the drivers of all that is
// there. The steps that need a network card or a disk wait for that one
// themselves.
const driverPatience = 15 * time.Second

// coldplug loads the drivers of what is there. One that takes its time, for its
// hardware does, goes on starting beside the steps that follow.
func (b *Boot) coldplug(ctx context.Context) error {
	if b.coldplugging != nil { // a retry
		_ = b.coldplugging.Stop() // that it was ended is no news
	}
	done := make(chan error, 1)
	b.coldplugging = step.InBackground(func(ctx context.Context) error {
		report, err := b.drivers.Coldplug(ctx, "/sys")
		if len(report.Loaded) > 0 {
			b.Log.Info("drivers: " + strings.Join(report.Loaded, " "))
		}
		done <- err
		return err
	})
	select {
	case err := <-done:
		return err
	case <-time.After(driverPatience):
		b.Log.Warn(fmt.Sprintf("drivers: going on; still starting after %v: %s", driverPatience, strings.Join(b.drivers.Starting(), " ")))
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// forced are the files of modules-load.d(5) of the initrd: modules that no
// device asks for.
const forced = "/etc/modules-load.d/*.conf"

// loadForced loads them. A boot may well do without.
func (b *Boot) loadForced(ctx context.Context) {
	files, err := filepath.Glob(forced)
	for _, file := range files {
		text, wrong := os.ReadFile(file)
		err = errors.Join(err, wrong)
		for line := range strings.Lines(string(text)) {
			name := strings.TrimSpace(line)
			if name == "" || strings.HasPrefix(name, "#") || strings.HasPrefix(name, ";") {
				continue
			}
			err = errors.Join(err, mayBeBuiltIn(b.drivers.Load(ctx, name)))
		}
	}
	if err != nil {
		b.Log.Warn(fmt.Sprintf("modules that are loaded whatever the hardware is: %v", err))
	}
}

// loadFirmwareTable shows the firmware's iBFT in /sys where it may have a say.
// No device asks for that driver.
func (b *Boot) loadFirmwareTable(ctx context.Context) {
	if !b.config.NeedsNetwork() || !b.config.Network.WantsIBFT() {
		return
	}
	if err := mayBeBuiltIn(b.drivers.Load(ctx, "iscsi_ibft")); err != nil {
		b.Log.Warn(fmt.Sprintf("network: what the firmware's iBFT says is not known: %v", err))
	}
}

// undriven tells, in a line each, of network devices without a driver.
func (b *Boot) undriven() []string {
	if b.index == nil {
		return nil
	}
	var lines []string
	for _, m := range b.index.MissingDrivers("/sys") {
		lines = append(lines, m.String())
	}
	return lines
}

func (b *Boot) stopHotplug() {
	if b.hotplug == nil {
		return
	}
	if b.coldplugging != nil {
		_ = b.coldplugging.Stop()
		b.coldplugging = nil
	}
	if err := b.hotplug.Stop(); err != nil {
		b.Log.Warn(fmt.Sprintf("drivers of late devices: %v", err))
	}
	b.hotplug = nil
	if err := b.drivers.Close(); err != nil {
		b.Log.Warn("drivers: " + err.Error())
	}
}

// loadFileSystems loads what mounting an image takes. A driver that is not
// there may be built in; mounting will tell.
func (b *Boot) loadFileSystems(ctx context.Context) error {
	if b.drivers == nil {
		return nil
	}
	modules := []string{"loop", "overlay", "squashfs"}
	if b.config.MountVerity {
		modules = append(modules, "dm_verity")
	}
	return mayBeBuiltIn(b.drivers.Load(ctx, modules...))
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
