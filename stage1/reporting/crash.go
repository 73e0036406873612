package reporting

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
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
	Root      string // as in Record
	KernelLog func(lines int) []string
	Forward   Forwarder
	Since     time.Duration // what was logged later, the boot has not sent
	Version   string
	Config    config.Config
	Failure   fault.Failure
	Heartbeat func(heartbeat.Watchdog)
}

// Tell completes the report that the boot left, and starts to send it and what
// is logged from now on: the NIC is configured as it was. The function it
// returns is to be called when it is known what follows. An operator is asked
// meanwhile, and the watchdog is fed.
func (c CrashReport) Tell() (end func(fault.Choice)) {
	r := c.report()
	keep(c.Log, c.Root, r)
	dial := new(net.Dialer).DialContext
	target := targetOf(c.Config, c.Log, r.Machine, dial)
	if target.Since = c.Since; r.Machine.Hostname == "" && r.Network != nil {
		target.Hostname = strings.ReplaceAll(r.Network.MAC, ":", "-")
	}
	stopLog := c.Forward.send(c.Config, target)
	endPost := posterFor(c.Config, c.Log, c.Version, c.Root, dial).Failure(r)
	heart := new(heartbeat.Heartbeat)
	heart.Start(c.Config.Watchdog, c.Heartbeat)
	return func(choice fault.Choice) {
		endPost(choice)
		stopLog()
		heart.Stop()
	}
}

// report is the last one that was written, as that of a failure.
func (c CrashReport) report() report.Report {
	text, err := os.ReadFile(filepath.Join(c.Root, reportFile))
	var r report.Report
	if err == nil {
		r, err = report.Parse(text)
	}
	if err != nil { // it died before there was one
		release, _ := kmod.Release()
		r = report.Report{Version: report.Version, Agent: c.Version, Kernel: release, Machine: machineAt(c.Root)}
	}
	var blank func(string) string
	r.Parameters, blank = report.Parameters(c.Config.Modules)
	r.State, r.Memory, r.Written = report.Failed, memory(c.Root), time.Now().UTC().Format(time.RFC3339)
	r.DurationMS = max(0, step.SinceBoot().Milliseconds()-r.StartMS)
	r.Failure = blanked(c.Failure, blank)
	if n := len(r.Steps); n > 0 && r.Steps[n-1].Running {
		last := &r.Steps[n-1]
		last.Running, last.Failure, last.DurationMS = false, c.Failure.Class, max(0, step.SinceBoot().Milliseconds()-last.StartMS)
	}
	r.KernelLog = blankAll(c.KernelLog(kernelLogLines), blank)
	return r
}
