package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Text renders the report for people, in lines of at most width columns, or 40
// where that is less. What a report cites can't move the cursor.
func (r Report) Text(width int) string {
	t := text{width: max(width, 40)}
	t.line("", "", r.headline())
	if r.Failure != nil {
		t.line("", "", r.Failure.Cause)
	}
	t.blank()
	t.about(r)
	t.steps(r)
	t.list("Tried", r.tried())
	t.links(r.Links)
	t.download(r.Download)
	t.list("Parameters", r.Parameters)
	t.warnings(r.Warnings)
	t.log(r.KernelLog)
	return t.b.String()
}

// headline is the report in a line.
func (r Report) headline() string {
	took := seconds(r.DurationMS)
	switch r.State {
	case Good:
		return "Booted: ready for stage 2 after " + took
	case Complete:
		line := "Booted: ready for stage 2 after " + took
		if r.Stream != nil {
			line += ", image whole after " + seconds(r.Stream.TookMS)
		}
		return line
	case Check:
		return "Checked: stage 2 could have been started after " + took
	case Failed:
		return fmt.Sprintf("Failed: %s in step %s, after %s", r.Failure.Class, r.Failure.Step, took)
	}
	last := "the first step"
	if n := len(r.Steps); n > 0 {
		last = "step " + r.Steps[n-1].Name
	}
	return fmt.Sprintf("Running, or cut off: in %s, after %s", last, took)
}

func (r Report) tried() []string {
	if r.Failure == nil {
		return nil
	}
	return r.Failure.Tried
}

// A text is lines of limited width.
type text struct {
	b     strings.Builder
	width int
}

func (t *text) blank() { t.b.WriteByte('\n') }

// line writes s after a label, broken at blanks where it is too long, and
// indented then.
func (t *text) line(label, indent, s string) {
	line, empty := label, true
	for _, word := range strings.Fields(clean(s)) {
		if !empty && columns(line)+1+columns(word) > t.width {
			t.b.WriteString(line + "\n")
			line, empty = indent, true
		}
		if !empty {
			line += " "
		}
		for columns(line)+columns(word) > t.width {
			head := string([]rune(word)[:t.width-columns(line)])
			t.b.WriteString(line + head + "\n")
			line, word = indent, word[len(head):]
		}
		line, empty = line+word, false
	}
	if !empty {
		t.b.WriteString(line + "\n")
	}
}

// fact is a line with a label before it, or nothing.
func (t *text) fact(label, s string) {
	const indent = 11
	t.line(fmt.Sprintf("%-*s", indent, label), strings.Repeat(" ", indent), s)
}

func (t *text) list(title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	t.b.WriteString("\n" + title + "\n")
	for _, s := range lines {
		t.line("  ", "    ", s)
	}
}

func (t *text) about(r Report) {
	m := r.Machine
	t.fact("Machine", join(m.Hostname, join(m.Vendor+" "+m.Product), label("serial", m.Serial)))
	t.fact("", join(label("uuid", m.UUID), strings.Join(m.MACs, ", ")))
	t.fact("Agent", join(label("stage1", r.Agent), label("on Linux", r.Kernel)))
	t.fact("Written", label(r.Written, "by the machine's clock"))
	if l := r.Network; l != nil {
		t.fact("Network", join(l.Link+" "+l.Address, label("gateway", l.Gateway), label("from", l.Server)))
	}
	if i := r.Image; i != nil {
		t.fact("Image", join(mib(i.Size), i.Source, i.Layout))
		t.fact("sha256", i.SHA256)
		t.fact("roothash", i.RootHash)
		if i.Manifest != nil {
			t.fact("", join(label("manifest", i.Manifest.Name), label("key", i.Manifest.Key), i.Manifest.Source))
		}
	}
	if s := r.Stream; s != nil {
		t.fact("Stream", fmt.Sprintf("%s received in %s, %d of %d reads waited, the longest %s", mib(s.Received), seconds(s.TookMS), s.Waited, s.Reads, seconds(s.LongestMS)))
	}
	if m := r.Memory; m != nil {
		t.fact("Memory", mib(m.Available)+" of "+mib(m.Total)+" available")
	}
}

func (t *text) steps(r Report) {
	if len(r.Steps) == 0 {
		return
	}
	longest := int64(1)
	for _, s := range r.Steps {
		longest = max(longest, s.DurationMS)
	}
	t.b.WriteString("\nSteps           start        took\n")
	const head = 38
	for _, s := range r.Steps {
		bar := strings.Repeat("#", int(s.DurationMS*int64(t.width-head)/longest))
		if s.Failure != "" {
			bar = "failed: " + string(s.Failure)
		}
		row := fmt.Sprintf("  %-10.10s %9.3f s %9.3f s", clean(s.Name), float64(s.StartMS-r.StartMS)/1e3, float64(s.DurationMS)/1e3)
		if bar == "" {
			t.b.WriteString(row + "\n")
			continue
		}
		t.line(fmt.Sprintf("%-*s", head, row), strings.Repeat(" ", head), bar)
	}
}

func (t *text) links(links []Link) {
	var lines []string
	for _, l := range links {
		s := fmt.Sprintf("%s %s: %s", l.Name, join(l.MAC, l.Driver, l.Device), join(l.Status, l.Fault))
		if l.Winner {
			s += ", used"
		}
		lines = append(lines, s)
	}
	t.list("Network cards", lines)
}

func (t *text) download(d *Download) {
	if d == nil {
		return
	}
	of := ""
	if d.Total >= 0 {
		of = " of " + mib(d.Total)
	}
	t.b.WriteString("\nDownload\n")
	rate := ""
	if d.Rate > 0 {
		rate = mib(d.Rate) + "/s"
	}
	t.line("  ", "    ", join(fmt.Sprintf("%s: %s%s in %s", d.What, mib(d.Bytes), of, seconds(d.TookMS)), rate, fmt.Sprintf("%d retries", d.Retries)))
	for _, m := range d.Mirrors {
		note := ""
		if m.Bad {
			note = "not asked again"
		}
		t.line("  ", "    ", join(m.URL, mib(m.Bytes), fmt.Sprintf("%d faults", m.Faults), m.Answer, note))
	}
}

func (t *text) warnings(warnings []Warning) {
	var lines []string
	for _, w := range warnings {
		lines = append(lines, seconds(w.AtMS)+" "+w.Text)
	}
	t.list("Warnings", lines)
}

// log keeps the blanks of lines, which are columns.
func (t *text) log(lines []string) {
	if len(lines) > 0 {
		t.b.WriteString("\nThe last lines of the kernel log\n")
	}
	for _, s := range lines {
		indent, rest := "  ", []rune(clean(s))
		for len(rest) > 0 {
			n := min(len(rest), t.width-len(indent))
			t.b.WriteString(strings.TrimRight(indent+string(rest[:n]), " ") + "\n")
			indent, rest = "      ", rest[n:]
		}
	}
}

// join is a list of what is not empty.
func join(parts ...string) string {
	var some []string
	for _, s := range parts {
		if s = strings.TrimSpace(s); s != "" {
			some = append(some, s)
		}
	}
	return strings.Join(some, ", ")
}

func label(name, value string) string {
	if value == "" || name == "" {
		return ""
	}
	return name + " " + value
}

func seconds(ms int64) string {
	if d := time.Duration(ms) * time.Millisecond; d >= 2*time.Minute {
		return d.Round(time.Second).String()
	}
	return fmt.Sprintf("%.3f s", float64(ms)/1e3)
}

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// clean leaves nothing that a terminal obeys.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' {
			return ' '
		}
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// columns is the width of s, where every rune has one.
func columns(s string) int { return utf8.RuneCountInString(s) }
