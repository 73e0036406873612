package bootcmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"netstage/debug/kmsg"
	"netstage/stage1"
	"netstage/stage1/network"
	"netstage/stage1/report"
	"netstage/stage1/step"
	"netstage/stage1/stream"
)

// current is the report of the boot as it stands.
func (o Options) current() (report.Report, error) {
	text, err := o.read("boot.json")
	if errors.Is(err, fs.ErrNotExist) {
		return report.Report{}, errors.New("the boot has not told anything yet")
	}
	if err != nil {
		return report.Report{}, err
	}
	return report.Parse(text)
}

func (o Options) report() (string, error) {
	text, err := o.read("boot.json")
	return string(text), err
}

// status tells where the boot stands.
func (o Options) status() (string, error) {
	r, err := o.current()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, line := range headline(r, o.inCharge()) {
		b.WriteString(kmsg.Clean(line) + "\n")
	}
	now := step.SinceBoot().Milliseconds()
	last := map[string]int{} // a step that was tried again is shown once
	tries := map[string]int{}
	for i, s := range r.Steps {
		last[s.Name] = i
		tries[s.Name]++
	}
	for _, name := range stage1.StepNames() {
		i, ran := last[name]
		if !ran {
			fmt.Fprintf(&b, "  %-9s to come\n", name)
			continue
		}
		s := r.Steps[i]
		how, took := "done", s.DurationMS
		switch {
		case s.Failure != "":
			how = "failed: " + string(s.Failure)
		case s.Running && o.inCharge() == boot:
			how, took = "runs", now-s.StartMS
		case s.Running:
			how = "cut off"
		}
		if tries[name] > 1 {
			how += fmt.Sprintf(", try %d", tries[name])
		}
		fmt.Fprintf(&b, "  %-9s at %8.3f s  %8.3f s  %s\n", name, float64(s.StartMS)/1e3, float64(took)/1e3, kmsg.Clean(how))
	}
	return b.String(), nil
}

// headline is where the boot stands, and what leaving the shell does.
func headline(r report.Report, who actor) []string {
	if who == nobody {
		return []string{`PID 1 is a shell, and nothing boots. "exit" reboots.`}
	}
	if f := r.Failure; f != nil {
		lines := []string{fmt.Sprintf("The boot failed in step %s: %s", f.Step, f.Class), f.Cause}
		if len(f.Tried) > 0 {
			lines = append(lines, "Last tried: "+f.Tried[len(f.Tried)-1])
		}
		return append(lines, `On the console "exit 0" tries again, "exit 1" goes back to the menu; "boot retry" does from anywhere.`)
	}
	if r.Breakpoint != "" {
		return []string{fmt.Sprintf(`The boot stands before step %s, at a breakpoint. "exit 0" there goes on, "exit 1" opens the menu.`, r.Breakpoint)}
	}
	if n := len(r.Steps); n > 0 {
		return []string{fmt.Sprintf("The boot is in step %s.", r.Steps[n-1].Name)}
	}
	return []string{"The boot has just begun."}
}

func (o Options) net() (string, error) {
	return strings.Join(network.Left("/", o.width()-1), "\n") + "\n", nil
}

// fetch tells of the download.
// fetch tells of the last download, and of an image that is used while it
// comes.
func (o Options) fetch() (string, error) {
	text, err := o.download()
	if err != nil {
		return "", err
	}
	s, err := stream.ReadStatus(filepath.Join(o.Run, filepath.Base(stream.StatusFile)))
	if errors.Is(err, fs.ErrNotExist) {
		return text, nil
	}
	if err != nil {
		return "", err
	}
	for i, line := range s.Lines() {
		if i == 0 {
			line = "stream: " + line
		} else {
			line = "  " + line
		}
		text += kmsg.Clean(line) + "\n"
	}
	return text, nil
}

func (o Options) download() (string, error) {
	text, err := o.read("image.json")
	if errors.Is(err, fs.ErrNotExist) {
		return "Nothing has been fetched yet.\n", nil
	}
	if err != nil {
		return "", err
	}
	var d report.Download
	if err := json.Unmarshal(text, &d); err != nil {
		return "", fmt.Errorf("%s/image.json: %w", o.Run, err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", d.What, mib(d.Bytes))
	if d.Total >= 0 {
		fmt.Fprintf(&b, " of %s", mib(d.Total))
	}
	fmt.Fprintf(&b, " in %.1f s", float64(d.TookMS)/1e3)
	if d.Bytes != d.Total && d.Rate > 0 {
		fmt.Fprintf(&b, ", %s/s", mib(d.Rate))
	}
	if d.Bytes != d.Total && d.ETAMS >= 0 {
		fmt.Fprintf(&b, ", %.0f s to go", float64(d.ETAMS)/1e3)
	}
	if d.Retries > 0 {
		fmt.Fprintf(&b, ", %d retries", d.Retries)
	}
	b.WriteString("\n")
	for _, m := range d.Mirrors {
		fmt.Fprintf(&b, "  %s\n    %s", kmsg.Clean(m.URL), mib(m.Bytes))
		if m.Rate > 0 {
			fmt.Fprintf(&b, ", %s/s", mib(m.Rate))
		}
		if m.Faults > 0 {
			fmt.Fprintf(&b, ", %d faults", m.Faults)
		}
		if m.Answer != "" {
			b.WriteString(", last: " + kmsg.Clean(m.Answer))
		}
		if m.Bad {
			b.WriteString("; not asked again")
		}
		b.WriteString("\n")
	}
	return b.String(), nil
}

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
