package stage1

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"netstage/mount"
	"netstage/stage1/devices"
	"netstage/stage1/image"
	"netstage/stage1/step"
)

// What stage 2 finds with boot.network=keep: the format of networkd.State, files
// for systemd-networkd that come before the defaults (99-…) and after what an
// administrator named as usual (10-…, NixOS 40-…), and the name servers,
// also at /etc/resolv.conf where the image has none.
const (
	networkFile = "/run/netstage/network.json"
	networkdDir = "/run/systemd/network"
	resolvFile  = "/run/netstage/resolv.conf"
	resolvConf  = "/etc/resolv.conf"
)

// prepareHandOver leaves the machine as stage 2 expects it: NICs down, the
// kernel's modprobe its own, the boot's record in /run.
func (b *Boot) prepareHandOver(ctx context.Context) error {
	b.stopShells()
	b.forgetFailedBoots(ctx)
	b.devices.Stop()
	if err := b.handOverStream(); err != nil {
		return err
	}
	// The loop device keeps a fetched image's memory alive.
	if err := errors.Join(mount.Discard(image.Dir), b.tellKernel(), devices.Unshare()); err != nil {
		return err
	}
	b.postResult(ctx)
	b.endLog()
	if err := b.leaveNetwork(ctx); err != nil {
		// Stage 2 configures the NIC anyway.
		b.Log.Warn(fmt.Sprintf("network: %v", err))
	}
	b.keepRecord(b.Report(b.result()))
	if err := b.writeSystemdState(); err != nil {
		b.Log.Warn(fmt.Sprintf("systemd-analyze will not know of the initrd: %v", err))
	}
	b.Log.Info(fmt.Sprintf("ready for stage 2 after %.3f s: %s", (step.SinceBoot() - b.timeline.Started).Seconds(), b.timeline.Summary()))
	return nil
}

func (b *Boot) leaveNetwork(ctx context.Context) error {
	if b.network.Network == nil {
		return nil
	}
	b.keepLinks(nil)
	defer func() { b.network.Network = nil }()
	if b.config.KeepNetwork || b.stream != nil {
		return errors.Join(b.describeNetwork(), b.network.Close())
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return b.network.Down(ctx)
}

// describeNetwork tells stage 2 of the network that stays up.
func (b *Boot) describeNetwork() error {
	kept := b.network.Networkd()
	text, err := kept.JSON()
	if err != nil {
		return err
	}
	files := map[string][]byte{
		networkFile:          text,
		resolvFile:           b.network.ResolvConf(),
		newRoot + resolvConf: b.network.ResolvConf(),
	}
	for name, text := range kept.Files() {
		files[filepath.Join(networkdDir, name)] = text
	}
	var errs []error
	for name, text := range files {
		// What the image has, a link to come included, is its own business.
		if _, err := os.Lstat(name); name == newRoot+resolvConf && err == nil {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, os.WriteFile(name, text, 0o644))
	}
	return errors.Join(errs...)
}
