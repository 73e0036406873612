package stage1

import (
	"context"
	"time"

	"netstage/stage1/fault"
	"netstage/stage1/report"
	"netstage/stage1/step"
)

// began notes that a step has begun.
func (b *Boot) began(s step.Step) {
	b.heart.Expect(s.QuietTime())
	if !s.Brief {
		b.record.Keep(b.record.Report(report.Running))
	}
}

// breakpoint lets an operator look around.
func (b *Boot) breakpoint(ctx context.Context, s step.Step) fault.Choice {
	r := b.record.Report(report.Running)
	r.Breakpoint = s.Name
	b.record.Keep(r)
	b.heart.Expect(0)
	defer b.heart.Expect(afterMenu)
	return b.Break(ctx, b.config, s)
}

// decide asks what follows a failed step. The command line may have asked for
// a panic, for the sake of an outer supervisor.
func (b *Boot) decide(ctx context.Context, f fault.Failure) fault.Choice {
	b.heart.Expect(afterMenu)
	end := b.record.Fail(&f)
	choice := fault.Panic
	switch {
	case f.Class == fault.FsckReboot: // not to be mounted before the machine has started again
		b.Log.Warn("rebooting, as the check of the disk wants it")
		choice = fault.Reboot
	case !b.config.PanicOnFail:
		b.heart.Expect(0)
		choice = b.Rescue(ctx, b.config, f)
		b.heart.Expect(afterMenu)
	}
	end(choice)
	return choice
}

// afterMenu is how long there may be no sign of life once nobody is asked any
// more what to do, and before that: for a report that is sent.
const afterMenu = 2 * time.Minute

// asked makes an image that somebody goes back to, or before, be fetched anew:
// what is there is verified, and may be yesterday's.
func (b *Boot) asked(s step.Step) { b.image.stale = b.image.stale || s.Refetches }
