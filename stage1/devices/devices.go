// Package devices loads the drivers that the initrd holds for this kernel.
package devices

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"netstage/stage1/cmdline"
	"netstage/stage1/kmod"
	"netstage/stage1/modindex"
	"netstage/stage1/step"
)

// Devices are the machine's, with the drivers for them. The zero value of all
// but Log is that of a machine before Open.
type Devices struct {
	Log *slog.Logger

	index   *modindex.Index // nil where the initrd has none for this kernel
	loader  *kmod.Loader    // nil likewise
	hotplug *step.Background

	coldplugging *step.Background // the drivers of what was there at the start
}

// Open indexes the modules that the initrd holds for this kernel; params are
// those that drivers may look for.
func (d *Devices) Open(params cmdline.Params) error {
	if d.loader != nil {
		return nil
	}
	release, err := kmod.Release()
	if err != nil {
		return err
	}
	index, err := modindex.Open(filepath.Join("/lib/modules", release))
	if errors.Is(err, os.ErrNotExist) {
		d.Log.Warn("modules: " + noModules())
		return nil
	}
	if err != nil {
		return err
	}
	if err := Unshare(); err != nil { // of an earlier attempt
		d.Log.Warn("modules may get options twice", "err", err)
	}
	rules, err := modindex.ReadConfigDirs(modindex.ConfigDirs[:]...)
	if err != nil {
		d.Log.Warn("some module options are ignored", "err", err)
	}
	asked := &modindex.Config{}
	for _, p := range params {
		if p.Key == "module_blacklist" { // the kernel's own, of what it won't load either
			p.Key = "modprobe.blacklist"
		}
		rules.KernelParam(p.Key, p.Value, p.HasValue)
		asked.KernelParam(p.Key, p.Value, p.HasValue)
	}
	index.Use(rules)
	d.shareRules(asked)
	d.index, d.loader = index, kmod.NewLoader(index, d.Log)
	return nil
}

// noModules tells that the initrd was made for another kernel.
func noModules() string {
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

// sharedRules is for the modprobe that the kernel starts until the hand-over,
// which reads it last; that of stage 2 has a configuration of its own.
const sharedRules = "/run/modprobe.d/zz-command-line.conf"

// shareRules tells the modprobe that the kernel starts what the command line
// says of modules.
func (d *Devices) shareRules(rules *modindex.Config) {
	var text bytes.Buffer
	rules.WriteTo(&text)
	err := os.MkdirAll(filepath.Dir(sharedRules), 0o755)
	if err == nil {
		err = os.WriteFile(sharedRules, text.Bytes(), 0o600)
	}
	if err != nil {
		d.Log.Warn("modules that the kernel asks for get no options of the command line", "err", err)
	}
}

// Unshare leaves nothing of the command line for the modprobe of stage 2, which
// runs the commands that it finds in such files.
func Unshare() error {
	err := os.Remove(sharedRules)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Drive loads what the hardware asks for, and goes on doing so for
// devices that appear later.
func (d *Devices) Drive(ctx context.Context) error {
	if d.loader == nil {
		return nil
	}
	if err := d.loader.Listen(); err != nil {
		d.Log.Warn("drivers of devices that appear later will not be loaded", "err", err)
	} else if d.hotplug == nil {
		defer func() { d.hotplug = step.InBackground(d.loader.Hotplug) }()
	}
	if err := d.coldplug(ctx); err != nil {
		return err
	}
	for _, missing := range d.Undriven() {
		d.Log.Warn(missing)
	}
	ctx, cancel := context.WithTimeout(ctx, driverPatience)
	defer cancel()
	d.loadForced(ctx)
	return nil
}

// driverPatience is how long the boot waits for the drivers of all that is
// there. The steps that need a network card or a disk wait for that one
// themselves.
const driverPatience = 15 * time.Second

// coldplug loads the drivers of what is there. One that takes its time, for its
// hardware does, goes on starting beside the steps that follow.
func (d *Devices) coldplug(ctx context.Context) error {
	if d.coldplugging != nil { // a retry
		_ = d.coldplugging.Stop() // that it was ended is no news
	}
	done := make(chan error, 1)
	d.coldplugging = step.InBackground(func(ctx context.Context) error {
		report, err := d.loader.Coldplug(ctx, "/sys")
		if len(report.Loaded) > 0 {
			d.Log.Info("drivers: " + strings.Join(report.Loaded, " "))
		}
		done <- err
		return err
	})
	select {
	case err := <-done:
		return err
	case <-time.After(driverPatience):
		d.Log.Warn(fmt.Sprintf("drivers: going on; still starting after %v: %s", driverPatience, strings.Join(d.loader.Starting(), " ")))
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// forced are the files of modules-load.d(5) of the initrd: modules that no
// device asks for.
const forced = "/etc/modules-load.d/*.conf"

// loadForced loads them. A boot may well do without.
func (d *Devices) loadForced(ctx context.Context) {
	files, err := filepath.Glob(forced)
	for _, file := range files {
		text, wrong := os.ReadFile(file)
		err = errors.Join(err, wrong)
		for line := range strings.Lines(string(text)) {
			name := strings.TrimSpace(line)
			if name == "" || strings.HasPrefix(name, "#") || strings.HasPrefix(name, ";") {
				continue
			}
			err = errors.Join(err, d.Load(ctx, name))
		}
	}
	if err != nil {
		d.Log.Warn("modules that are loaded whatever the hardware is", "err", err)
	}
}

// Undriven tells, in a line each, of network devices without a driver.
func (d *Devices) Undriven() []string {
	if d.index == nil {
		return nil
	}
	var lines []string
	starting := d.loader.Starting()
	log := sync.OnceValue(kernelLog) // in most machines nobody asks for it
	for _, m := range kmod.MissingDrivers(d.index, "/sys") {
		for _, name := range m.Modules {
			if slices.Contains(starting, name) {
				m.Starting = append(m.Starting, name)
			}
		}
		if len(m.Modules) > 0 {
			m.Refusal = kmod.Refusal(log(), m.Device)
		}
		lines = append(lines, m.String())
	}
	return append(lines, kmod.Refused("/sys", log)...)
}

// kernelLog is what the kernel's ring buffer has, "" where it may not be read.
func kernelLog() string {
	size, err := unix.Klogctl(unix.SYSLOG_ACTION_SIZE_BUFFER, nil)
	if err != nil || size <= 0 {
		return ""
	}
	buf := make([]byte, size)
	n, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

// Stop ends what Drive has begun. Drivers are loaded no more.
func (d *Devices) Stop() {
	if d.coldplugging != nil {
		_ = d.coldplugging.Stop()
		d.coldplugging = nil
	}
	if d.hotplug == nil {
		return
	}
	if err := d.hotplug.Stop(); err != nil {
		d.Log.Warn("drivers of late devices", "err", err)
	}
	d.hotplug = nil
	if err := d.loader.Close(); err != nil {
		d.Log.Warn("drivers", "err", err)
	}
}

// Load loads modules. One that is not there may be built in: what needs it will
// tell.
func (d *Devices) Load(ctx context.Context, modules ...string) error {
	return mayBeBuiltIn(d.Require(ctx, modules...))
}

// Require loads modules that have to be there; a kernel without modules has
// what it has.
func (d *Devices) Require(ctx context.Context, modules ...string) error {
	if d.loader == nil {
		return nil
	}
	return d.loader.Load(ctx, modules...)
}

// Indexed tells whether the initrd has modules for this kernel.
func (d *Devices) Indexed() bool { return d.loader != nil }

// WhyNone says, in a line each, why the machine may have no network device.
func (d *Devices) WhyNone() []string {
	if d.index == nil {
		return []string{noModules()}
	}
	return d.Undriven()
}

// mayBeBuiltIn drops the complaints of a Load about modules that are not
// there.
func mayBeBuiltIn(err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		if errors.Is(err, modindex.ErrNotFound) {
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
