package stage1

import (
	"log/slog"
	"os"
	"strings"
	"time"

	"netstage/stage1/fault"
	"netstage/stage1/kmod"
	"netstage/stage1/report"
)

// A Death is the end of a boot that could not tell of it itself.
type Death struct {
	Log       *slog.Logger
	KernelLog func(lines int) []string
	Forward   Forwarder
	Since     time.Duration // what was logged later, the boot has not sent
	Version   string
	Config    Config
	Failure   fault.Failure
	Beat      func(Watchdog)
}

// Tell completes the report that the boot left, and starts to send it and what
// is logged from now on: the NIC is configured as it was. The function it
// returns is to be called when it is known what follows. An operator is asked
// meanwhile, and the watchdog is fed.
func (d Death) Tell() (end func(fault.Choice)) {
	r := d.report(reportFile)
	recordReport(d.Log, r)
	target := d.Config.target(d.Log, r.Machine, nil)
	if target.Since = d.Since; r.Machine.Hostname == "" && r.Network != nil {
		target.Hostname = strings.ReplaceAll(r.Network.MAC, ":", "-")
	}
	stopLog := d.Forward.send(d.Config, target)
	endPost := d.Config.poster(d.Log, d.Version, nil).postFailure(r)
	b := Boot{config: d.Config, Beat: d.Beat}
	b.startPulse()
	return func(c fault.Choice) {
		endPost(c)
		stopLog()
		b.stopPulse()
	}
}

// report is what was last written at path, as that of a failure.
func (d Death) report(path string) report.Report {
	text, err := os.ReadFile(path)
	var r report.Report
	if err == nil {
		r, err = report.Parse(text)
	}
	if err != nil { // it died before there was one
		release, _ := kmod.Release()
		r = report.Report{Version: report.Version, Agent: d.Version, Kernel: release, Machine: machineAt("/")}
	}
	var blank func(string) string
	r.Parameters, blank = report.Parameters(d.Config.Modules)
	r.State, r.Memory, r.Written = report.Failed, memory(), time.Now().UTC().Format(time.RFC3339)
	r.DurationMS = max(0, SinceBoot().Milliseconds()-r.StartMS)
	r.Failure = &fault.Failure{
		Class: d.Failure.Class, Cause: blank(d.Failure.Cause), Step: d.Failure.Step, Tried: blankAll(d.Failure.Tried, blank),
	}
	if n := len(r.Steps); n > 0 && r.Steps[n-1].Running {
		last := &r.Steps[n-1]
		last.Running, last.Failure, last.DurationMS = false, d.Failure.Class, max(0, SinceBoot().Milliseconds()-last.StartMS)
	}
	r.KernelLog = blankAll(d.KernelLog(kernelLogLines), blank)
	return r
}
