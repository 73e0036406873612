package stage1

import (
	"context"

	"netstage/stage1/network"
)

// bringUpNetwork brings up the NIC that leads to the image.
func (b *Boot) bringUpNetwork(ctx context.Context) error {
	b.config.Watchdog.Check(ctx, b.Log, &b.devices, initramfs)
	if !b.config.NeedsNetwork() {
		b.Log.Info("network: not needed, nothing is fetched")
		if b.config.LogTo != "" {
			b.Log.Warn("boot.log: not sent: this boot needs no network")
		}
		return nil
	}
	b.kernelLog.Stop()
	if err := b.network.Up(ctx, network.Order{Config: b.config, Status: b.Status, Alive: b.heart.Sign}); err != nil {
		return err
	}
	if b.network.Network != nil {
		b.kernelLog.Start(b.config, b.record.LogTarget())
	}
	return nil
}
