package stage1

import (
	"context"
)

func (b *Boot) openModules(context.Context) error { return b.devices.Open(b.config.Modules) }

// loadDrivers loads what the hardware asks for, and what shows the firmware's
// iBFT in /sys where that may have a say: no device asks for that driver.
func (b *Boot) loadDrivers(ctx context.Context) error {
	err := b.devices.Drive(ctx)
	if b.config.NeedsNetwork() && b.config.Network.WantsIBFT() {
		if err := b.devices.Load(ctx, "iscsi_ibft"); err != nil {
			b.Log.Warn("network: what the firmware's iBFT says is not known", "err", err)
		}
	}
	return err
}

// prepareFileSystems runs beside the steps.
func (b *Boot) prepareFileSystems(ctx context.Context) (err error) {
	b.prepared, err = b.disks().Prepare(ctx, b.config)
	return err
}
