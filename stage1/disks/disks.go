// Package disks finds and mounts what is on the machine's disks: the image, and
// the file systems that are mounted besides.
package disks

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"netstage/mount/block"
	"netstage/stage1/step"
	"netstage/stage1/uevent"
)

// patience is how long a disk may take to appear: a controller with many disks
// takes that long. One that may be missing is waited for as long as a USB stick
// needs.
const (
	patience      = time.Minute
	shortPatience = 10 * time.Second
)

// Drivers loads kernel modules that may be built in.
type Drivers interface {
	Load(ctx context.Context, modules ...string) error
}

// Disks are the machine's.
type Disks struct {
	Log     *slog.Logger
	Drivers Drivers
	Root    string // what /dev/root stands for; may be empty
}

// look begins to look for block devices; what was seen before is read
// again.
func (d *Disks) log() *slog.Logger { return d.Log.With("what", "disks") }

func (d *Disks) look() *block.Devices { return block.NewDevices("/sys", "/dev", d.Log) }

// await waits for a block device that what needs, until the deadline.
// /dev/root is the one of root=.
func (d *Disks) await(ctx context.Context, disks *block.Devices, text, what string, limit time.Duration) (block.Device, error) {
	if text == "/dev/root" && d.Root != "" {
		text = d.Root
	}
	name, err := block.ParseName(text)
	if err != nil {
		return block.Device{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it did not appear within %v", limit))
	defer cancel()
	changed, stop := d.events()
	defer stop()
	defer d.SayWhile(fmt.Sprintf("waiting for the disk %s for %s, at most %v", text, what, limit))()
	return disks.Wait(ctx, name, changed)
}

// events tells of block devices that come and go, until it is stopped.
func (d *Disks) events() (changed <-chan struct{}, stop func()) {
	signal := make(chan struct{}, 1)
	tell := func(e uevent.Event) {
		if e.Subsystem == "block" || e.Action == uevent.Lost {
			select {
			case signal <- struct{}{}:
			default: // it will look anyway
			}
		}
	}
	listening := step.InBackground(func(ctx context.Context) error { return listenOrPoll(ctx, d.log(), tell) })
	return signal, func() { listening.Stop() }
}

// listenOrPoll looks every second where the kernel does not tell.
func listenOrPoll(ctx context.Context, log *slog.Logger, tell func(uevent.Event)) error {
	err := uevent.Listen(ctx, log, tell)
	if err == nil {
		return nil
	}
	log.Warn(fmt.Sprintf("%v; looking every second", err))
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			tell(uevent.Event{Action: uevent.Lost})
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

// SayWhile tells what is going on until the returned function is called.
func (d *Disks) SayWhile(text string) (stop func()) {
	saying := step.InBackground(func(ctx context.Context) error {
		started := time.Now()
		for wait := firstNotice; ; wait = nextNotice {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(wait):
			}
			line := text
			if so := time.Since(started); so > nextNotice {
				line += fmt.Sprintf("; %d s so far", int(so.Seconds()))
			}
			d.log().Info(line)
		}
	})
	return func() { saying.Stop() }
}
