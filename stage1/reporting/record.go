// Package reporting tells the world outside of a boot: by reports in a file and
// to a server, by the kernel log to a collector, and of a boot that died in its
// stead.
package reporting

import (
	"bytes"
	"errors"
	"log/slog"
	"path/filepath"
	"time"

	"netstage/fetch"
	"netstage/netup/lease"
	"netstage/netup/linktable"
	"netstage/stage1/attest"
	"netstage/stage1/config"
	"netstage/stage1/fault"
	"netstage/stage1/kmod"
	"netstage/stage1/network"
	"netstage/stage1/report"
	"netstage/stage1/rundir"
	"netstage/stage1/step"
)

// reportFile is the record of the boot as it stands, for the shell, and for
// stage 2.
const reportFile = "/run/netstage/boot.json"

// kernelLogLines is how many of the last lines a report has.
const kernelLogLines = 120

// A Record is what there is to tell of a boot.
type Record struct {
	Log       *slog.Logger
	Version   string                   // of the agent
	KernelLog func(lines int) []string // the end of it; may be nil
	Warnings  func() []report.Warning  // may be nil
	Root      string                   // where /proc, /sys and /run are
	Timeline  *step.Timeline
	Network   *network.Connection
	Machine   *attest.Machine

	// As far as they are known yet.
	Config  config.Config
	Image   *report.Image
	Failure *fault.Failure // the last one

	hardware *report.Machine
	download Download
	waiting  waiting
}

// Report tells of the boot as it stands. It is for whoever runs while no step
// does.
func (r *Record) Report(state report.State) report.Report {
	release, _ := kmod.Release()
	out := report.Report{
		Version: report.Version, State: state, Agent: r.Version, Kernel: release,
		Written: time.Now().UTC().Format(time.RFC3339),
		StartMS: r.Timeline.Started.Milliseconds(), DurationMS: (step.SinceBoot() - r.Timeline.Started).Milliseconds(),
		Machine: r.machine(), Network: leaseOf(r.Network.Won()), Memory: memory(r.Root), Image: r.Image,
	}
	var blank func(string) string
	out.Parameters, blank = report.Parameters(r.Config.Modules)
	for _, s := range r.Timeline.Spans {
		took := s.Duration
		if !s.Ended {
			took = step.SinceBoot() - s.Start
		}
		out.Steps = append(out.Steps, report.Step{Name: s.Step, StartMS: s.Start.Milliseconds(), DurationMS: took.Milliseconds(), Running: !s.Ended, Failure: s.Failure})
	}
	if r.Failure != nil && state == report.Failed {
		out.Failure = blanked(*r.Failure, blank)
	}
	if r.download.What != "" {
		out.Download = &r.download
	}
	if r.Warnings != nil {
		for _, w := range r.Warnings() {
			w.Text, w.Mirror = blank(w.Text), blank(w.Mirror)
			out.Warnings = append(out.Warnings, w)
		}
	}
	out.Links = linksOf(r.Network.LastSeen().Links)
	return out
}

// withLog is Report with the end of the kernel log.
func (r *Record) withLog(state report.State) report.Report {
	out := r.Report(state)
	if r.KernelLog != nil {
		_, blank := report.Parameters(r.Config.Modules)
		out.KernelLog = blankAll(r.KernelLog(kernelLogLines), blank)
	}
	return out
}

// Keep writes the report to its file.
func (r *Record) Keep(out report.Report) { keep(r.Log, r.Root, out) }

// Fail adds to a failure what else there is to see, and tells of it. The
// function it returns ends that, when it is known what follows.
func (r *Record) Fail(f *fault.Failure) (end func(fault.Choice)) {
	r.addFacts(f)
	r.Failure = f
	out := r.withLog(report.Failed)
	r.Keep(out)
	return r.poster().Failure(out)
}

// Downloading forgets an earlier download: another one begins.
func (r *Record) Downloading() {
	r.download = Download{}
	r.waiting.since(time.Now())
}

// Downloaded ends what Downloading began.
func (r *Record) Downloaded(err error) {
	r.waiting.over()
	if failed, ok := errors.AsType[*fetch.Error](err); ok { // the progress of small files is not told
		r.download = downloadOf(failed.Progress())
	}
}

func linksOf(states []linktable.Row) []report.Link {
	var links []report.Link
	for _, s := range states {
		link := report.Link{
			Name: s.Name, MAC: s.MAC, Driver: s.Driver, Device: s.Device, Carrier: s.Carrier,
			Status: s.Doing(), Fault: s.Fault, Winner: s.Winner,
		}
		for _, address := range []string{s.V4.Address, s.V6.Address} {
			if address != "" {
				link.Addresses = append(link.Addresses, address)
			}
		}
		links = append(links, link)
	}
	return links
}

func leaseOf(l *lease.Lease) *report.Lease {
	if l == nil {
		return nil
	}
	r := &report.Lease{Link: l.Link, MAC: l.MAC.String(), Address: l.Addr.String(), Source: l.Source, TookMS: l.Took.Milliseconds()}
	if l.Server.IsValid() {
		r.Server = l.Server.String()
	}
	if g := l.Gateway(); g.IsValid() {
		r.Gateway = g.String()
	}
	return r
}

func blankAll(lines []string, blank func(string) string) []string {
	var out []string
	for _, line := range lines {
		out = append(out, blank(line))
	}
	return out
}

// blanked is what a report has of a failure.
func blanked(f fault.Failure, blank func(string) string) *fault.Failure {
	return &fault.Failure{Class: f.Class, Cause: blank(f.Cause), Step: f.Step, Tried: blankAll(f.Tried, blank)}
}

// keep writes a report to its file, for root alone: what is a secret without
// looking like one is in it. A boot does not fail for want of it.
func keep(log *slog.Logger, root string, r report.Report) {
	var text bytes.Buffer
	err := r.Encode(&text)
	if err == nil {
		err = rundir.ReplacePrivate(filepath.Join(root, reportFile), text.Bytes())
	}
	if err != nil {
		log.Warn("the boot's report", "err", err)
	}
}
