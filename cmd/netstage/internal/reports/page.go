package reports

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"netstage/stage1/report"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

// A view is what the page shows.
type view struct {
	Now    string
	Total  int
	Counts []count
	Only   report.State // "" for all
	Legend []string
	Rows   []row
}

// A count is how many machines are in a state.
type count struct {
	State report.State
	N     int
}

// A row is a machine.
type row struct {
	Machine, Name string // of the report in the store
	Who, What     string // name and description of the machine
	State         report.State
	At, Ago       string
	Duration      string
	Parts         []part
	Longest       string // the steps that took longest, in words
	Class, Cause  string
	Verdict       string // on the quote of its TPM
	Doubted       bool
	Facts         string
	Earlier       []string
}

// A part is a piece of the bar of times.
type part struct {
	Step    string
	Percent float64
	Took    string
}

// other is what no step took: an operator at a breakpoint or the menu, mostly.
const other = "other"

// steps have a colour each on the page, in this order.
var steps = []string{"pseudo", "config", "modules", "devices", "network", "image", "root", "handover"}

// viewOf arranges boots: failed ones first, then the newest first.
func viewOf(boots []Boot, only report.State, now time.Time) view {
	v := view{Now: now.UTC().Format("2006-01-02 15:04:05"), Total: len(boots), Only: only, Legend: append(slices.Clone(steps), other)}
	order := []report.State{report.Failed, report.Running, report.Check, report.Good, report.Complete}
	for _, state := range order {
		n := 0
		for _, b := range boots {
			if b.State == state {
				n++
			}
		}
		if n > 0 {
			v.Counts = append(v.Counts, count{state, n})
		}
	}
	slices.SortFunc(boots, func(a, b Boot) int {
		if d := slices.Index(order, a.State) - slices.Index(order, b.State); d != 0 {
			return d
		}
		if d := b.At.Compare(a.At); d != 0 {
			return d
		}
		return strings.Compare(a.Machine, b.Machine)
	})
	for _, b := range boots {
		if only == "" || b.State == only {
			v.Rows = append(v.Rows, rowOf(b, now))
		}
	}
	return v
}

func rowOf(b Boot, now time.Time) row {
	m := b.Report.Machine
	r := row{
		Machine: b.Machine, Name: b.Name, State: b.State, Earlier: b.Earlier,
		At: b.At.UTC().Format("2006-01-02 15:04:05 UTC"), Ago: ago(now.Sub(b.At)), Duration: short(b.DurationMS),
		Who: b.Machine, What: strings.TrimSpace(m.Vendor + " " + m.Product),
	}
	if m.Hostname != "" {
		r.Who, r.What = m.Hostname, strings.TrimSuffix(b.Machine+", "+r.What, ", ")
	}
	if m.Serial != "" {
		r.What += ", serial " + m.Serial
	}
	if b.Failure != nil {
		r.Class, r.Cause = string(b.Failure.Class), b.Failure.Cause
	} else {
		r.Facts = facts(b.Report)
	}
	r.Verdict, r.Doubted = b.Verdict, strings.HasPrefix(b.Verdict, unattested)
	r.Parts, r.Longest = parts(b.Report)
	return r
}

// facts are what there is to say of a boot that did not fail.
func facts(r report.Report) string {
	var some []string
	if r.Network != nil {
		some = append(some, r.Network.Link+" "+r.Network.Address)
	}
	if r.Image != nil {
		some = append(some, fmt.Sprintf("%d MiB from %s", r.Image.Size>>20, r.Image.Source))
	}
	if d := r.Download; d != nil && d.Retries > 0 {
		some = append(some, fmt.Sprintf("%d retries", d.Retries))
	}
	return strings.Join(some, ", ")
}

// parts divides the time of a boot among its steps, and names those that took
// longest.
func parts(r report.Report) ([]part, string) {
	var took [9]int64
	sum := int64(0)
	for _, s := range r.Steps {
		i := slices.Index(steps, s.Name)
		if i < 0 {
			i = len(steps)
		}
		took[i] += s.DurationMS
		sum += s.DurationMS
	}
	total := max(sum, r.DurationMS, 1)
	took[len(steps)] += total - sum
	var all []part
	for i, ms := range took {
		name := other
		if i < len(steps) {
			name = steps[i]
		}
		if ms > 0 {
			all = append(all, part{name, float64(ms) * 100 / float64(total), short(ms)})
		}
	}
	longest := slices.Clone(all)
	slices.SortStableFunc(longest, func(a, b part) int { return cmp.Compare(b.Percent, a.Percent) })
	var words []string
	for i, p := range longest {
		if i == 3 || i > 0 && p.Percent < 1 {
			break
		}
		words = append(words, p.Step+" "+p.Took)
	}
	return all, strings.Join(words, ", ")
}

// short is a duration for people.
func short(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// ago is how long something is past, for people.
func ago(d time.Duration) string {
	unit := func(n int, name string) string {
		if n == 1 {
			return "1 " + name + " ago"
		}
		return fmt.Sprintf("%d %ss ago", n, name)
	}
	switch {
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return unit(int(d.Minutes()), "minute")
	case d < 48*time.Hour:
		return unit(int(d.Hours()), "hour")
	}
	return unit(int(d.Hours()/24), "day")
}
