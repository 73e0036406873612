package reports

import (
	"strings"

	"netstage/stage1/fault"
	"netstage/stage1/report"
)

// shown is what the page shows of a report: some kilobytes.
func shown(r report.Report) report.Report {
	const most = 200 // bytes of a text
	cut := func(texts ...*string) {
		for _, text := range texts {
			*text = strings.Clone((*text)[:min(len(*text), most)])
		}
	}
	m := report.Machine{Vendor: r.Machine.Vendor, Product: r.Machine.Product, Serial: r.Machine.Serial, Hostname: r.Machine.Hostname}
	cut(&m.Vendor, &m.Product, &m.Serial, &m.Hostname)
	agent := r.Agent
	cut(&agent)
	s := report.Report{Version: r.Version, Agent: agent, State: r.State, StartMS: r.StartMS, DurationMS: r.DurationMS, Machine: m}
	for _, step := range r.Steps[:min(len(r.Steps), 64)] {
		cut(&step.Name)
		s.Steps = append(s.Steps, report.Step{Name: step.Name, StartMS: step.StartMS, DurationMS: step.DurationMS, Running: step.Running})
	}
	if f := r.Failure; f != nil {
		class, cause := string(f.Class), f.Cause
		cut(&class, &cause)
		s.Failure = &fault.Failure{Class: fault.Class(class), Cause: cause}
	}
	if r.Network != nil {
		n := report.Lease{Link: r.Network.Link, Address: r.Network.Address}
		cut(&n.Link, &n.Address)
		s.Network = &n
	}
	if r.Image != nil {
		i := report.Image{Source: r.Image.Source, Size: r.Image.Size}
		cut(&i.Source)
		s.Image = &i
	}
	if r.Download != nil {
		s.Download = &report.Download{Retries: r.Download.Retries}
	}
	return s
}
