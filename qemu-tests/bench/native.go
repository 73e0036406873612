package bench

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"netstage/stage1/report"
)

// A nativeCase is what both agents boot in namespaces of this host.
type nativeCase struct {
	name   string
	size   int64 // of the image, about
	verify bool
}

// A nativeBoot is one boot in namespaces: from /init to the first act of
// stage 2, the processors' time of all that the machine ran to its end and of
// what laid out its initramfs, and the steps, by the agent's report.
type nativeBoot struct {
	took  time.Duration
	spent time.Duration
	steps []report.Step
}

var reportLine = regexp.MustCompile(`(?m)^bench: report: (.*)$`)

// parseReport reads the agent's report from the console of stage 2.
func parseReport(console string) (report.Report, error) {
	var text bytes.Buffer
	for _, m := range reportLine.FindAllStringSubmatch(console, -1) {
		fmt.Fprintln(&text, m[1])
	}
	if text.Len() == 0 {
		return report.Report{}, fmt.Errorf("stage 2 told of no report")
	}
	return report.Parse(text.Bytes())
}

// nativeResult is all boots of a case by the agent before and today's.
type nativeResult struct {
	nativeCase
	bytes         int64
	before, today []nativeBoot
}

func tookOf(b nativeBoot) time.Duration  { return b.took }
func spentOf(b nativeBoot) time.Duration { return b.spent }

// middleOf is the median of the boots' figures.
func middleOf(boots []nativeBoot, figure func(nativeBoot) time.Duration) time.Duration {
	all := figuresOf(boots, figure)
	return all[(len(all)-1)/2]
}

// figuresOf are the boots' figures, the least first.
func figuresOf(boots []nativeBoot, figure func(nativeBoot) time.Duration) []time.Duration {
	var all []time.Duration
	for _, b := range boots {
		all = append(all, figure(b))
	}
	slices.Sort(all)
	return all
}

// writeNative prints the table. The ratio is that of the medians.
func writeNative(w io.Writer, results []nativeResult) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "boot\tbytes\tof\tbefore, ms\t\ttoday, ms\t\tratio\t")
	for _, r := range results {
		for _, figure := range []struct {
			name string
			of   func(nativeBoot) time.Duration
		}{{"time", tookOf}, {"processor", spentOf}} {
			fmt.Fprintf(t, "%s\t%d\t%s", r.name, r.bytes, figure.name)
			for _, boots := range [][]nativeBoot{r.before, r.today} {
				all := figuresOf(boots, figure.of)
				fmt.Fprintf(t, "\t%.1f\t(%.1f-%.1f)", millis(middleOf(boots, figure.of)), millis(all[0]), millis(all[len(all)-1]))
			}
			fmt.Fprintf(t, "\t%.2f\t\n", middleOf(r.today, figure.of).Seconds()/middleOf(r.before, figure.of).Seconds())
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprint(w, "\nMedians of the steps, ms, before/today:\n")
	for _, r := range results {
		var words []string
		for _, step := range r.today[0].steps {
			of := func(b nativeBoot) time.Duration {
				for _, s := range b.steps {
					if s.Name == step.Name {
						return time.Duration(s.DurationMS)
					}
				}
				return 0
			}
			words = append(words, fmt.Sprintf("%s %d/%d", step.Name, middleOf(r.before, of), middleOf(r.today, of)))
		}
		fmt.Fprintf(w, "  %s: %s\n", r.name, strings.Join(words, ", "))
	}
	return nil
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
