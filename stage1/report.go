package stage1

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"netstage/netup/lease"
	"netstage/netup/linktable"
	"netstage/stage1/fault"
	"netstage/stage1/kmod"
	"netstage/stage1/report"
	"netstage/stage1/step"
)

// reportFile is the record of the boot as it stands, for the shell, and for
// stage 2.
const reportFile = "/run/netstage/boot.json"

// kernelLogLines is how many of the last lines a report has.
const kernelLogLines = 120

// Report tells of the boot as it stands. It is for whoever runs while no step
// does.
func (b *Boot) Report(state report.State) report.Report {
	release, _ := kmod.Release()
	r := report.Report{
		Version: report.Version, State: state, Agent: b.Version, Kernel: release,
		Written: time.Now().UTC().Format(time.RFC3339),
		StartMS: b.timeline.Started.Milliseconds(), DurationMS: (step.SinceBoot() - b.timeline.Started).Milliseconds(),
		Machine: b.machine(), Network: b.network.lease, Memory: memory(),
	}
	var blank func(string) string
	r.Parameters, blank = report.Parameters(b.config.Modules)
	for _, s := range b.timeline.Spans {
		took := s.Duration
		if !s.Ended {
			took = step.SinceBoot() - s.Start
		}
		r.Steps = append(r.Steps, report.Step{Name: s.Step, StartMS: s.Start.Milliseconds(), DurationMS: took.Milliseconds(), Running: !s.Ended, Failure: s.Failure})
	}
	if f := b.record.failure; f != nil && state == report.Failed {
		r.Failure = &fault.Failure{Class: f.Class, Cause: blank(f.Cause), Step: f.Step, Tried: blankAll(f.Tried, blank)}
	}
	if b.image != nil {
		r.Image = &b.image.Report
	}
	if b.record.download.What != "" {
		r.Download = &b.record.download
	}
	r.Links = linksOf(b.lastSeen().Links)
	return r
}

// withLog is Report with the end of the kernel log.
func (b *Boot) withLog(state report.State) report.Report {
	r := b.Report(state)
	if b.KernelLog != nil {
		_, blank := report.Parameters(b.config.Modules)
		r.KernelLog = blankAll(b.KernelLog(kernelLogLines), blank)
	}
	return r
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

func leaseOf(l lease.Lease) *report.Lease {
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

func (b *Boot) keepRecord(r report.Report) { recordReport(b.Log, r) }

// recordReport writes the report to its file. A boot does not fail for want of
// it.
func recordReport(log *slog.Logger, r report.Report) {
	var text bytes.Buffer
	err := r.Encode(&text)
	if err == nil {
		err = replaceFile(reportFile, text.Bytes())
	}
	if err != nil {
		log.Warn(fmt.Sprintf("the boot's report: %v", err))
	}
}

// result is the state of a boot that is through.
func (b *Boot) result() report.State {
	if b.config.Check {
		return report.Check
	}
	return report.Good
}

// replaceFile writes path, whole or not at all.
func replaceFile(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", text, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
