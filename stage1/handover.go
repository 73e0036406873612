package stage1

import (
	"context"
	"errors"
	"fmt"
	"time"

	"netstage/mount"
)

// prepareHandOver leaves the machine as stage 2 expects it: NICs down, the
// kernel's modprobe its own, the boot's record in /run.
func (b *Boot) prepareHandOver(ctx context.Context) error {
	b.stopHotplug()
	if err := b.leaveNetwork(ctx); err != nil {
		// Stage 2 configures the NIC anyway.
		b.Log.Warn(fmt.Sprintf("network: %v", err))
	}
	// The loop device keeps a fetched image's memory alive.
	if err := errors.Join(mount.Discard(imageDir), setModprobe("/sbin/modprobe")); err != nil {
		return err
	}
	report := Report{Version: 1, Agent: b.Version, Image: &b.source, Network: b.lease}
	b.timeline.report(&report)
	if err := report.write(reportFile); err != nil {
		return err
	}
	b.Log.Info(fmt.Sprintf("ready for stage 2 after %.3f s: %s", (SinceBoot() - b.timeline.Started).Seconds(), b.timeline.summary()))
	return nil
}

func (b *Boot) leaveNetwork(ctx context.Context) error {
	if b.network == nil {
		return nil
	}
	defer func() { b.network = nil }()
	if b.config.KeepNetwork {
		return b.network.Close()
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return b.network.Down(ctx)
}
