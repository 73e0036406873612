// Package stage1 is the boot of a netbooted NixOS machine, from the first
// mount to the moment when PID 1 hands over to stage 2. It runs in a child of
// PID 1 and prepares everything; the switch itself is PID 1's.
package stage1

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"netstage/fetch/vouch"
	"netstage/mount"
	"netstage/netup"
	"netstage/nix"
	"netstage/stage1/fault"
	"netstage/stage1/kmod"
	"netstage/stage1/report"
)

// steps is the boot's story.
func (b *Boot) steps() []Step {
	const limit = 2 * time.Minute
	return []Step{
		{Name: "pseudo", Title: "mount the special file systems", Run: b.pseudo, Limit: limit},
		{Name: "config", Title: "read the kernel command line", Run: b.readConfig, Limit: limit},
		{Name: "modules", Title: "index the drivers of this kernel", Run: b.openModules, Limit: limit, Optional: true,
			Stands: "the command line is read, no driver is loaded"},
		{Name: "devices", Title: "load the drivers the hardware asks for", Run: b.loadDrivers, Limit: limit, Optional: true,
			Stands: "the initrd's drivers are known, none is loaded"},
		{Name: "network", Title: "bring up the network", Run: b.bringUpNetwork, Optional: true,
			Stands: "drivers are loaded, every NIC is as the kernel found it"},
		{Name: "image", Title: "get the image", Run: b.getImage,
			Stands: "the network is up, nothing is fetched"},
		{Name: "root", Title: "mount the new root", Run: b.mountRoot, Limit: limit, From: "image", Ahead: b.prepareFileSystems, After: "modules",
			Stands: "the image is there, and verified where anything vouches for it; it is not mounted"},
		{Name: "handover", Title: "prepare the hand-over to stage 2", Run: b.prepareHandOver, Limit: limit, Optional: true, Ahead: b.recallStreak, After: "devices",
			Stands: "the new root is mounted at " + newRoot + ", its init is proven"},
	}
}

// StepNames are the names of the steps, in order.
var StepNames = []string{"pseudo", "config", "modules", "devices", "network", "image", "root", "handover"}

// firstBreak is the first step that a breakpoint can stop before: earlier
// ones run before the command line is known.
const firstBreak = 2

// Boot is one attempt to boot. The first group is set by the caller.
type Boot struct {
	Log       *slog.Logger
	Status    func(string)                                              // shows progress on the console; "" when it ends
	Configure func(Config)                                              // told as soon as the command line is known; may be nil
	Break     func(context.Context, Config, Step) fault.Choice          // an operator looks around before a step; "" goes on
	Rescue    func(context.Context, Config, fault.Failure) fault.Choice // the failure ladder
	KernelLog func(lines int) []string                                  // the end of it, for the report; may be nil
	Forward   Forwarder                                                 // for boot.log=; may be nil
	Beat      func(Watchdog)                                            // tells PID 1 that the boot goes on; may be nil
	SSH       func() (stop func(), err error)                           // starts the server of boot.ssh; stop waits for its end
	Version   string
	Built     time.Time // when this program was; the clock can't be before it

	// What the steps leave for each other.
	config   Config
	index    *kmod.Index  // of modules; nil where the initrd has none for this kernel
	drivers  *kmod.Loader // nil likewise
	hotplug  *background
	stopSSH  func()         // nil: it does not run
	stopLog  func()         // likewise
	logSent  time.Duration  // what was logged until then, since boot
	beating  *background    // nil: without a watchdog
	network  *netup.Network // nil where the image needs none
	image    *os.File
	tree     *vouch.Tree // of the image, where it is mounted through dm-verity
	source   report.Image
	download Download
	lease    *report.Lease
	system   nix.System

	// For the report.
	failure   *fault.Failure // the last one
	lastLinks LinkTable      // of a network that is gone
	hardware  *report.Machine
	hostname  string    // by DHCP
	tellAt    time.Time // when to tell that the image still does not come
	waiting   func(fault.Choice)

	written     mount.Mount       // what is under the new root: it persists, or not
	fileSystems []prepared        // to be mounted below it
	imageIsBad  bool              // it could not be mounted, or somebody wants it anew; another one may be there
	media       map[string]string // where disks with images are mounted

	clockWasWrong bool // before this program was built
	clockIsSet    bool // by a time server

	streak   Streak // of failed boots, once the step "handover" runs
	timeline Timeline
	pulse    pulse
}

// HandOver is a new root, ready for PID 1 to switch to.
type HandOver struct {
	Root  string   // mount point
	Move  []string // mount points to take along
	State string   // a file for systemd's --deserialize=; empty where init is not systemd itself
	nix.System
}

// Run boots. It returns the hand-over when the new root is ready, or else the
// choice that ended the boot; a Boot is not to be used again then.
func (b *Boot) Run(ctx context.Context) (*HandOver, fault.Choice) {
	b.timeline.Started = SinceBoot()
	b.config = defaultConfig() // until the command line has been read
	b.Log = slog.New(audible{b.Log.Handler(), &b.pulse})
	asked, listening := requests()
	runner := Runner{
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
	_ = listening.stop() // it has no error
	b.stopShells()
	b.stopHotplug()
	b.endLog()
	b.stopPulse()
	switch {
	case choice != "":
		return nil, choice
	case b.config.Check:
		b.Log.Info(fmt.Sprintf("boot.check: stage 2 would be started, init %s; switching off instead", b.system.Init))
		return nil, fault.PowerOff
	}
	return &HandOver{Root: newRoot, Move: []string{"/proc", "/sys", "/dev", "/run"}, State: stateFor(b.system), System: b.system}, ""
}

// began notes that a step has begun.
func (b *Boot) began(step Step) {
	b.pulse.expect(quietOf(step))
	switch step.Name {
	case "pseudo", "config", "modules": // the first mounts /run, and all are over in no time
	default:
		b.record(b.Report(report.Running))
	}
}

// breakpoint lets an operator look around.
func (b *Boot) breakpoint(ctx context.Context, step Step) fault.Choice {
	r := b.Report(report.Running)
	r.Breakpoint = step.Name
	b.record(r)
	b.pulse.expect(0)
	return b.Break(ctx, b.config, step)
}

// decide asks what follows a failed step. The command line may have asked for
// a panic, for the sake of an outer supervisor.
func (b *Boot) decide(ctx context.Context, f fault.Failure) fault.Choice {
	b.addFacts(&f)
	b.failure = &f
	b.pulse.expect(0)
	r := b.withLog(report.Failed)
	b.record(r)
	end := b.config.poster(b.Log, b.Version, b.network).postFailure(r)
	choice := fault.Panic
	switch {
	case f.Class == fault.FsckReboot: // not to be mounted before the machine has started again
		b.Log.Warn("rebooting, as the check of the disk wants it")
		choice = fault.Reboot
	case !b.config.PanicOnFail:
		choice = b.Rescue(ctx, b.config, f)
	}
	end(choice)
	return choice
}

// asked makes an image that somebody goes back to, or before, be fetched anew:
// what is there is verified, and may be yesterday's.
func (b *Boot) asked(step string) {
	if slices.Index(StepNames, step) <= slices.Index(StepNames, "image") {
		b.imageIsBad = true
	}
}
