package stage1

import (
	"context"
	"fmt"
	"time"

	"netstage/mount/block"
	"netstage/stage1/kmod"
	"netstage/stage1/step"
)

// patience is how long a disk may take to appear: a controller with many disks
// takes that long. One that may be missing is waited for as long as a USB stick
// needs.
const (
	patience      = time.Minute
	shortPatience = 10 * time.Second
)

// lookForDisks begins to look for block devices; what was seen before is read
// again.
func (b *Boot) lookForDisks() *block.Devices { return block.NewDevices("/sys", "/dev", b.Log) }

// awaitDisk waits for a block device that what needs, until the deadline.
// /dev/root is the one of root=.
func (b *Boot) awaitDisk(ctx context.Context, disks *block.Devices, text, what string, limit time.Duration) (block.Device, error) {
	if text == "/dev/root" && b.config.Root != "" {
		text = b.config.Root
	}
	name, err := block.ParseName(text)
	if err != nil {
		return block.Device{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it did not appear within %v", limit))
	defer cancel()
	changed, stop := b.diskEvents()
	defer stop()
	defer b.sayWhile(fmt.Sprintf("waiting for the disk %s for %s, at most %v", text, what, limit))()
	return disks.Wait(ctx, name, changed)
}

// diskEvents tells of block devices that come and go, until it is stopped.
func (b *Boot) diskEvents() (changed <-chan struct{}, stop func()) {
	events := make(chan struct{}, 1)
	tell := func(e kmod.Uevent) {
		if e.Subsystem == "block" || e.Action == kmod.Lost {
			select {
			case events <- struct{}{}:
			default: // it will look anyway
			}
		}
	}
	listening := step.InBackground(func(ctx context.Context) error { return listenOrPoll(ctx, b, tell) })
	return events, func() { listening.Stop() }
}

// listenOrPoll looks every second where the kernel does not tell.
func listenOrPoll(ctx context.Context, b *Boot, tell func(kmod.Uevent)) error {
	err := kmod.Listen(ctx, b.Log, tell)
	if err == nil {
		return nil
	}
	b.Log.Warn(fmt.Sprintf("disks: %v; looking every second", err))
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			tell(kmod.Uevent{Action: kmod.Lost})
		case <-ctx.Done():
			return nil
		}
	}
}

// What takes longer than firstNotice is told of, and again every nextNotice.
const (
	firstNotice = 300 * time.Millisecond
	nextNotice  = 15 * time.Second
)

// sayWhile tells what is going on until the returned function is called.
func (b *Boot) sayWhile(text string) (stop func()) {
	saying := step.InBackground(func(ctx context.Context) error {
		started := time.Now()
		for wait := firstNotice; ; wait = nextNotice {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(wait):
			}
			line := "disks: " + text
			if so := time.Since(started); so > nextNotice {
				line += fmt.Sprintf("; %d s so far", int(so.Seconds()))
			}
			b.Log.Info(line)
		}
	})
	return func() { saying.Stop() }
}
