package stage1

import (
	"context"
	"errors"
	"fmt"

	"netstage/mount"
	"netstage/stage1/devices"
	"netstage/stage1/image"
	"netstage/stage1/root"
	"netstage/stage1/step"
)

// prepareHandOver leaves the machine as stage 2 expects it: NICs down, the
// kernel's modprobe its own, the boot's record in /run.
func (b *Boot) prepareHandOver(ctx context.Context) error {
	b.shells.stop()
	forgetFailedBoots(ctx, b.Log, b.failedBoots)
	b.devices.Stop()
	if s := b.image.stream; s != nil && !b.config.Check { // which has waited for its end
		if err := s.HandOver(); err != nil {
			return err
		}
	}
	// The loop device keeps a fetched image's memory alive.
	if err := errors.Join(mount.Discard(image.Dir), root.TellKernel(b.system), devices.Unshare()); err != nil {
		return err
	}
	if err := b.remember(ctx); err != nil {
		return err
	}
	b.record.Post(ctx)
	b.machine.Leave()
	b.kernelLog.Stop()
	if err := b.network.Leave(ctx, b.config.KeepNetwork || b.image.stream != nil); err != nil {
		// Stage 2 configures the NIC anyway.
		b.Log.Warn("network", "err", err)
	}
	b.record.Keep(b.record.Report(b.record.Result()))
	if i := b.image.Image; i != nil {
		if err := i.LeaveOrder(); err != nil {
			b.Log.Warn("image: it will not be kept for later boots", "err", err)
		}
	}
	if err := writeSystemdState(b.record.Timeline.Started); err != nil {
		b.Log.Warn("systemd-analyze will not know of the initrd", "err", err)
	}
	b.Log.Info(fmt.Sprintf("ready for stage 2 after %.3f s: %s", (step.SinceBoot() - b.record.Timeline.Started).Seconds(), b.record.Timeline.Summary()))
	return nil
}
