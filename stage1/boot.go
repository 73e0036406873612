// Package stage1 is the boot of a netbooted NixOS machine, from the first
// mount to the moment when PID 1 hands over to stage 2. It runs in a child of
// PID 1 and prepares everything; the switch itself is PID 1's.
package stage1

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"netstage/netup"
	"netstage/nix"
	"netstage/stage1/bootcount"
	"netstage/stage1/config"
	"netstage/stage1/devices"
	"netstage/stage1/disks"
	"netstage/stage1/fault"
	"netstage/stage1/heartbeat"
	"netstage/stage1/image"
	"netstage/stage1/report"
	"netstage/stage1/step"
	"netstage/stage1/stream"
)

// A line of the story is a step and what it does; prepare may be nil.
type line struct {
	step.Step
	run, prepare func(*Boot, context.Context) error
}

// story is the boot's story.
func story() []line {
	const limit = 2 * time.Minute
	return []line{
		{run: (*Boot).pseudo, Step: step.Step{Name: "pseudo", Title: "mount the special file systems", Limit: limit,
			Early: true, Brief: true, Refetches: true}},
		{run: (*Boot).readConfig, Step: step.Step{Name: "config", Title: "read the kernel command line", Limit: limit,
			Early: true, Brief: true, Refetches: true}},
		{run: (*Boot).openModules, Step: step.Step{Name: "modules", Title: "index the drivers of this kernel", Limit: limit,
			Optional: true, Brief: true, Refetches: true,
			StateBefore: "the command line is read, no driver is loaded"}},
		{run: (*Boot).loadDrivers, Step: step.Step{Name: "devices", Title: "load the drivers the hardware asks for", Limit: limit,
			Optional: true, Refetches: true,
			StateBefore: "the initrd's drivers are known, none is loaded"}},
		{run: (*Boot).bringUpNetwork, Step: step.Step{Name: "network", Title: "bring up the network", Quiet: quietNetwork,
			Optional: true, Refetches: true,
			StateBefore: "drivers are loaded, every NIC is as the kernel found it"}},
		{run: (*Boot).getImage, Step: step.Step{Name: "image", Title: "get the image", Refetches: true,
			StateBefore: "the network is up, nothing is fetched"}},
		{run: (*Boot).mountRoot, prepare: (*Boot).prepareFileSystems, Step: step.Step{Name: "root", Title: "mount the new root",
			From: "image", DependsOn: "modules", // it says all the while what it waits for
			StateBefore: "the image is there, and verified where anything vouches for it; it is not mounted"}},
		{run: (*Boot).prepareHandOver, prepare: (*Boot).recallFailedBoots, Step: step.Step{Name: "handover", Title: "prepare the hand-over to stage 2", Limit: limit,
			Optional: true, DependsOn: "devices",
			StateBefore: "the new root is mounted at " + newRoot + ", its init is proven"}},
	}
}

// quietNetwork: the network tells each minute that it waits.
const quietNetwork = 150 * time.Second

// StepNames are the names of the steps, in order.
func StepNames() []string { return namesOf(func(step.Step) bool { return true }) }

// LoadConfig is what this boot is asked for: see package config.
func LoadConfig() (config.Config, []error) {
	return config.Load("/", namesOf(func(s step.Step) bool { return !s.Early }))
}

func namesOf(which func(step.Step) bool) []string {
	var names []string
	for _, l := range story() {
		if which(l.Step) {
			names = append(names, l.Name)
		}
	}
	return names
}

// steps are the story's, to be run by b.
func (b *Boot) steps() []step.Step {
	var steps []step.Step
	for _, l := range story() {
		l.Run = func(ctx context.Context) error { return l.run(b, ctx) }
		if l.prepare != nil {
			l.Prepare = func(ctx context.Context) error { return l.prepare(b, ctx) }
		}
		steps = append(steps, l.Step)
	}
	return steps
}

// An Agent is what the boot runs in: who looks on, and who is told.
type Agent struct {
	Log       *slog.Logger
	Status    func(string)                                                     // shows progress on the console; "" when it ends
	Configure func(config.Config)                                              // told as soon as the command line is known; may be nil
	Break     func(context.Context, config.Config, step.Step) fault.Choice     // an operator looks around before a step; "" goes on
	Rescue    func(context.Context, config.Config, fault.Failure) fault.Choice // the failure ladder
	KernelLog func(lines int) []string                                         // the end of it, for the report; may be nil
	Forward   Forwarder                                                        // for boot.log=; may be nil
	Beat      func(heartbeat.Watchdog)                                         // tells PID 1 that the boot goes on; may be nil
	SSH       func() (stop func(), err error)                                  // starts the server of boot.ssh; stop waits for its end
	Version   string
	Built     time.Time // when this program was; the clock can't be before it
}

// Boot is one attempt to boot: what its steps leave for each other.
type Boot struct {
	Agent
	config   config.Config
	devices  devices.Devices
	prepared disks.Prepared // file systems, to be mounted
	network  wire
	image    *image.Image
	stream   *stream.Stream // nil: the image is there whole
	badImage bool           // it could not be mounted, or somebody wants it anew; another one may be there
	system   nix.System

	clock       clockState
	failedBoots bootcount.Count // in a row, once the step "handover" runs
	services    services
	record      record
	timeline    step.Timeline
	heart       heartbeat.Heartbeat
}

// services are what goes on beside the steps, by what ends it.
type services struct {
	stopSSH       func()        // nil: it does not run
	stopLog       func()        // likewise
	stopHeartbeat func()        // likewise
	logSent       time.Duration // what was logged until then, since boot
}

// A wire is how the machine is on the network.
type wire struct {
	*netup.Network // nil where the image needs none
	lease          *report.Lease
	last           LinkTable // of a network that is gone
	hostname       string    // by DHCP
}

// A record is what the report tells besides.
type record struct {
	failure  *fault.Failure // the last one
	hardware *report.Machine
	download Download
	tellAt   time.Time // when to tell that the image still does not come
	waiting  func(fault.Choice)
}

// HandOver is a new root, ready for PID 1 to switch to.
type HandOver struct {
	Root  string   // mount point
	Move  []string // mount points to take along
	Name  string   // what init is called by: as it was asked for, a program may be many
	State string   // a file for systemd's --deserialize=; empty where init is not systemd itself
	nix.System
}

// Run boots. It returns the hand-over when the new root is ready, or else the
// choice that ended the boot; a Boot is not to be used again then.
func (b *Boot) Run(ctx context.Context) (*HandOver, fault.Choice) {
	b.timeline.Started = step.SinceBoot()
	b.config = config.Default() // until the command line has been read
	b.Log = slog.New(b.heart.Handler(b.Log.Handler()))
	b.devices.Log = b.Log
	asked, listening := step.Requests(StepNames())
	runner := step.Runner{
		Log: b.Log, Timeline: &b.timeline,
		Began:     b.began,
		Breaks:    func(step string) bool { return b.config.Breaks[step] },
		Break:     b.breakpoint,
		OnFailure: func(ctx context.Context, f fault.Failure) fault.Choice { return b.decide(ctx, f) },
		// PID 1 hears of the panic, and offers what is left to do.
		Hung:     func(why string) { panic(why) },
		Requests: asked, Asked: b.asked,
	}
	choice := runner.Run(ctx, b.steps())
	_ = listening.Stop() // an error is that it was left behind
	b.stopShells()
	b.devices.Stop()
	b.endLog()
	if b.services.stopHeartbeat != nil {
		b.services.stopHeartbeat()
	}
	switch {
	case choice != "":
		return nil, choice
	case b.config.Check:
		b.Log.Info(fmt.Sprintf("boot.check: stage 2 would be started, init %s; switching off instead", b.system.Init))
		return nil, fault.PowerOff
	}
	return &HandOver{Root: newRoot, Name: b.config.Init, Move: []string{"/proc", "/sys", "/dev", "/run"}, State: stateFor(b.system), System: b.system}, ""
}

// began notes that a step has begun.
func (b *Boot) began(s step.Step) {
	b.heart.Expect(s.QuietTime())
	if !s.Brief {
		b.keepRecord(b.Report(report.Running))
	}
}

// breakpoint lets an operator look around.
func (b *Boot) breakpoint(ctx context.Context, s step.Step) fault.Choice {
	r := b.Report(report.Running)
	r.Breakpoint = s.Name
	b.keepRecord(r)
	b.heart.Expect(0)
	defer b.heart.Expect(afterMenu)
	return b.Break(ctx, b.config, s)
}

// decide asks what follows a failed step. The command line may have asked for
// a panic, for the sake of an outer supervisor.
func (b *Boot) decide(ctx context.Context, f fault.Failure) fault.Choice {
	b.addFacts(&f)
	b.record.failure = &f
	b.heart.Expect(afterMenu)
	r := b.withLog(report.Failed)
	b.keepRecord(r)
	end := posterFor(b.config, b.Log, b.Version, b.network.Network).Failure(r)
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
func (b *Boot) asked(s step.Step) { b.badImage = b.badImage || s.Refetches }
