// Package stage1 is the boot of a netbooted NixOS machine, from the first
// mount to the moment when PID 1 hands over to stage 2. It runs in a child of
// PID 1 and prepares everything; the switch itself is PID 1's.
package stage1

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"netstage/nix"
	"netstage/stage1/attest"
	"netstage/stage1/bootcount"
	"netstage/stage1/config"
	"netstage/stage1/devices"
	"netstage/stage1/disks"
	"netstage/stage1/fault"
	"netstage/stage1/heartbeat"
	"netstage/stage1/network"
	"netstage/stage1/report"
	"netstage/stage1/reporting"
	"netstage/stage1/step"
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
		{run: (*Boot).getImage, prepare: (*Boot).openMachine, Step: step.Step{Name: "image", Title: "get the image", Refetches: true,
			DependsOn:   "devices",
			StateBefore: "the network is up, nothing is fetched"}},
		{run: (*Boot).mountRoot, prepare: (*Boot).prepareFileSystems, Step: step.Step{Name: "root", Title: "mount the new root",
			From: "image", DependsOn: "modules", // it says all the while what it waits for
			StateBefore: "the image is there, and verified where anything vouches for it; it is not mounted"}},
		{run: (*Boot).prepareHandOver, prepare: (*Boot).recallFailedBoots, Step: step.Step{Name: "handover", Title: "prepare the hand-over to stage 2", Limit: limit,
			Optional: true, DependsOn: "devices",
			StateBefore: "the new root is mounted at " + config.NewRoot + ", its init is proven"}},
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
	Warnings  func() []report.Warning                                          // that Log was told, for the report; may be nil
	Forward   reporting.Forwarder                                              // for boot.log=; may be nil
	Heartbeat func(heartbeat.Watchdog)                                         // tells PID 1 that the boot goes on; may be nil
	SSH       func() (stop func(), err error)                                  // starts the server of boot.ssh; stop waits for its end
	Version   string
	Built     time.Time // when this program was; the clock can't be before it
}

// initramfs is where the agent finds all that the machine has.
const initramfs = "/"

// Boot is one attempt to boot: what its steps leave for each other.
type Boot struct {
	Agent
	config   config.Config
	devices  devices.Devices
	prepared disks.Prepared // file systems, to be mounted
	network  network.Connection
	image    held
	system   nix.System

	clock       clockState
	machine     attest.Machine
	failedBoots bootcount.Count // in a row, once the step "handover" runs
	shells      shells
	kernelLog   reporting.KernelLog
	record      reporting.Record
	heart       heartbeat.Heartbeat
}

// newBoot is a boot that begins now.
func newBoot(a Agent) *Boot {
	b := &Boot{Agent: a}
	b.config, _ = LoadConfig() // for a failure before the step "config", which tells what is wrong
	b.Log = slog.New(b.heart.Handler(a.Log.Handler()))
	b.devices.Log = b.Log
	b.network = network.Connection{Log: b.Log, Cards: &b.devices, Root: initramfs}
	b.machine = attest.Machine{Log: b.Log, Root: initramfs}
	b.kernelLog.Forward = a.Forward
	b.record = reporting.Record{
		Log: b.Log, Version: a.Version, KernelLog: a.KernelLog, Warnings: a.Warnings, Root: initramfs,
		Timeline: &step.Timeline{Started: step.SinceBoot()}, Network: &b.network, Machine: &b.machine, Config: b.config,
	}
	return b
}

// disks are the machine's.
func (b *Boot) disks() *disks.Disks {
	return &disks.Disks{Log: b.Log, Drivers: &b.devices, Root: b.config.Root}
}

// HandOver is a new root, ready for PID 1 to switch to.
type HandOver struct {
	Root  string   // mount point
	Move  []string // mount points to take along
	Name  string   // what init is called by: as it was asked for, a program may be many
	State string   // a file for systemd's --deserialize=; empty where init is not systemd itself
	nix.System
}

// An End is how a boot ended: the new root is ready, or somebody or something
// chose otherwise.
type End struct {
	HandOver *HandOver    // nil: there is none
	Choice   fault.Choice // in its stead
	Reason   string       // a failure in one line, or empty
}

// Run boots.
func Run(ctx context.Context, a Agent) End {
	b := newBoot(a)
	choice := b.run(ctx)
	b.shells.stop()
	b.devices.Stop()
	b.kernelLog.Stop()
	b.heart.Stop()
	switch {
	case choice != "":
		end := End{Choice: choice}
		if f := b.record.Report(report.Failed).Failure; f != nil {
			end.Reason = string(f.Class) + ": " + f.Cause
		}
		return end
	case b.config.Check:
		b.Log.Info(fmt.Sprintf("boot.check: stage 2 would be started, init %s; switching off instead", b.system.Init))
		return End{Choice: fault.PowerOff}
	}
	return End{HandOver: &HandOver{
		Root: config.NewRoot, Name: b.config.Init, Move: []string{"/proc", "/sys", "/dev", "/run"}, State: stateFor(b.system), System: b.system,
	}}
}

// run runs the steps, and returns the choice that ended the boot, if any.
func (b *Boot) run(ctx context.Context) fault.Choice {
	asked, listening := step.Requests(StepNames())
	defer listening.Stop() // an error is that it was left behind
	return step.Runner{
		Log: b.Log, Timeline: b.record.Timeline,
		Began:     b.began,
		Breaks:    func(step string) bool { return b.config.Breaks[step] },
		Break:     b.breakpoint,
		OnFailure: b.decide,
		// PID 1 hears of the panic, and offers what is left to do.
		Hung:     func(why string) { panic(why) },
		Requests: asked, Asked: b.asked,
	}.Run(ctx, b.steps())
}
