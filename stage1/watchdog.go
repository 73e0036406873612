package stage1

import (
	"context"
	"fmt"

	"netstage/stage1/heartbeat"
	"netstage/stage1/step"
)

// startHeartbeat has PID 1 hear of the boot, which it ends when it hears no
// more, and start the watchdog as soon as there is one: a driver may hang, too.
// What it returns leaves the rest to PID 1.
func startHeartbeat(heart *heartbeat.Heartbeat, w heartbeat.Watchdog, beat func(heartbeat.Watchdog)) (stop func()) {
	if beat == nil {
		return func() {}
	}
	sending := step.InBackground(func(ctx context.Context) error {
		heart.Send(ctx, func() { beat(w) })
		return nil
	})
	return func() { sending.Stop() }
}

// checkWatchdog tells which one there is, now that drivers are loaded.
func (b *Boot) checkWatchdog(ctx context.Context) {
	w := b.config.Watchdog
	if w.After == 0 {
		return
	}
	if w.Soft && b.devices.Indexed() && heartbeat.At("/") == "" {
		if err := b.devices.Require(ctx, "softdog"); err != nil {
			b.Log.Warn(fmt.Sprintf("watchdog: %v", err))
		}
	}
	if name := heartbeat.At("/"); name != "" {
		b.Log.Info(fmt.Sprintf("watchdog: %s resets the machine when the boot hangs for %.0f s", name, w.After.Seconds()))
	} else {
		b.Log.Warn("watchdog: there is none that a driver of this initrd knows (netstage initrd --module +i6300esb, +iTCO_wdt; or boot.watchdog=60,softdog with +softdog)")
	}
}
