package stage1

import (
	"log/slog"
	"os"
	"strings"
	"time"

	"netstage/stage1/config"
	"netstage/stage1/fault"
	"netstage/stage1/heartbeat"
	"netstage/stage1/kmod"
	"netstage/stage1/report"
	"netstage/stage1/step"
)

// A CrashReport is of the end of a boot that could not tell of it itself.
type CrashReport struct {
	Log       *slog.Logger
	KernelLog func(lines int) []string
	Forward   Forwarder
	Since     time.Duration // what was logged later, the boot has not sent
	Version   string
	Config    config.Config
	Failure   fault.Failure
	Beat      func(heartbeat.Watchdog)
}

// Tell completes the report that the boot left, and starts to send it and what
// is logged from now on: the NIC is configured as it was. The function it
// returns is to be called when it is known what follows. An operator is asked
// meanwhile, and the watchdog is fed.
func (c CrashReport) Tell() (end func(fault.Choice)) {
	r := c.report(reportFile)
	recordReport(c.Log, r)
	target := logTarget(c.Config, c.Log, r.Machine, nil)
	if target.Since = c.Since; r.Machine.Hostname == "" && r.Network != nil {
		target.Hostname = strings.ReplaceAll(r.Network.MAC, ":", "-")
	}
	stopLog := c.Forward.send(c.Config, target)
	endPost := posterFor(c.Config, c.Log, c.Version, nil).Failure(r)
	stopHeartbeat := startHeartbeat(new(heartbeat.Heartbeat), c.Config.Watchdog, c.Beat)
	return func(choice fault.Choice) {
		endPost(choice)
		stopLog()
		stopHeartbeat()
	}
}

// report is what was last written at path, as that of a failure.
func (c CrashReport) report(path string) report.Report {
	text, err := os.ReadFile(path)
	var r report.Report
	if err == nil {
		r, err = report.Parse(text)
	}
	if err != nil { // it died before there was one
		release, _ := kmod.Release()
		r = report.Report{Version: report.Version, Agent: c.Version, Kernel: release, Machine: machineAt("/")}
	}
	var blank func(string) string
	r.Parameters, blank = report.Parameters(c.Config.Modules)
	r.State, r.Memory, r.Written = report.Failed, memory(), time.Now().UTC().Format(time.RFC3339)
	r.DurationMS = max(0, step.SinceBoot().Milliseconds()-r.StartMS)
	r.Failure = &fault.Failure{
		Class: c.Failure.Class, Cause: blank(c.Failure.Cause), Step: c.Failure.Step, Tried: blankAll(c.Failure.Tried, blank),
	}
	if n := len(r.Steps); n > 0 && r.Steps[n-1].Running {
		last := &r.Steps[n-1]
		last.Running, last.Failure, last.DurationMS = false, c.Failure.Class, max(0, step.SinceBoot().Milliseconds()-last.StartMS)
	}
	r.KernelLog = blankAll(c.KernelLog(kernelLogLines), blank)
	return r
}
