package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// A Result is all boots of a contender.
type Result struct {
	Contender
	Full []Sample // with the image
	Tiny []Sample // with the same system without the bulk: no transfer to speak of
}

// Report is what a run found out.
type Report struct {
	Title   string // what was compared, on what
	Results []Result
	// The agent's bytes, and those after zstd -19.
	Agent, AgentCompressed int64
	Trust                  []string // what of its code verifies and measures
	Modules                []string // where most of its code is from
	// Big is the boot of the image of BigImage bytes; nil if it was left out.
	Big      *Sample
	BigImage int64
	// Others are lines about benchmarks of single packages.
	Others []string
}

// Names of contenders, which the targets refer to.
const (
	scriptUdev   = "script with udev"
	script       = "script"
	scriptSHA256 = "script, sha256sum"
	agent        = "agent"
	agentAll     = "agent, every NIC"
	agentSHA256  = "agent, verified"
	agentAll256  = "agent, every NIC, verified"

	agentBefore    = "agent before"
	agentBefore256 = "agent before, verified"
)

func (r Report) result(name string) Result {
	i := r.index(name)
	if i < 0 {
		panic("no contender is called " + name)
	}
	return r.Results[i]
}

func (r Report) has(name string) bool { return r.index(name) >= 0 }

func (r Report) index(name string) int {
	return slices.IndexFunc(r.Results, func(result Result) bool { return result.Name == name })
}

// Boot is the median from /init to stage 2.
func (r Result) Boot() time.Duration { return median(r.Full, bootOf) }

// WithoutTransfer is Boot for the tiny image.
func (r Result) WithoutTransfer() time.Duration { return median(r.Tiny, bootOf) }

// Used is the median of the memory used at stage 2, in bytes.
func (r Result) Used() int64 { return median(r.Full, func(s Sample) int64 { return s.Used }) }

// Peak is the median of QEMU's memory, in bytes.
func (r Result) Peak() int64 { return median(r.Full, func(s Sample) int64 { return s.Peak }) }

func bootOf(s Sample) time.Duration { return s.Boot }

// median is the middle of the samples' figures, the lower one of two.
func median[T int64 | time.Duration](samples []Sample, figure func(Sample) T) T {
	figures := sorted(samples, figure)
	return figures[(len(figures)-1)/2]
}

func sorted[T int64 | time.Duration](samples []Sample, figure func(Sample) T) []T {
	var figures []T
	for _, s := range samples {
		figures = append(figures, figure(s))
	}
	slices.Sort(figures)
	return figures
}

// Write prints the report as plain text.
func (r Report) Write(w io.Writer) error {
	fmt.Fprintf(w, "%s\n\n", r.Title)
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	row := func(cells ...string) {
		cells[0] = fmt.Sprintf("%-28s", cells[0]) // the names begin at the left
		fmt.Fprintln(t, strings.Join(cells, "\t")+"\t")
	}
	row("", "initrd,", "kernel to", "/init to", "", "without", "used at", "QEMU's")
	row("", "bytes", "/init, s", "stage 2, s", "(all runs)", "transfer, s", "stage 2, MiB", "peak, MiB")
	for _, result := range r.Results {
		all := sorted(result.Full, bootOf)
		row(result.Name, fmt.Sprint(result.Size), seconds(median(result.Full, func(s Sample) time.Duration { return s.ToInit })),
			seconds(result.Boot()), seconds(all[0])+"-"+seconds(all[len(all)-1]),
			seconds(result.WithoutTransfer()), mib(result.Used()), mib(result.Peak()))
	}
	if err := t.Flush(); err != nil {
		return err
	}

	fmt.Fprint(w, "\nWhere the time went, of the median boot (seconds; those from 0.01 on):\n")
	for _, result := range r.Results {
		fmt.Fprintf(w, "  %s: %s\n", result.Name, phases(result.middle()))
	}
	fmt.Fprintf(w, "\nThe agent: %d bytes, %d with zstd -19. Bytes of its code: %s.\n", r.Agent, r.AgentCompressed, strings.Join(r.Trust, ", "))
	fmt.Fprintf(w, "Most of it is from: %s.\n", strings.Join(r.Modules, ", "))
	if r.Big != nil {
		fmt.Fprintf(w, "An image of %d bytes in 6 GiB, not verified: %s s to stage 2, of which the image %s s; its last file is right.\n",
			r.BigImage, seconds(r.Big.Boot), seconds(r.Big.phase("image")))
	}

	if len(r.Others) > 0 {
		fmt.Fprintf(w, "\nPackages, natively on this host:\n  %s\n", strings.Join(r.Others, "\n  "))
	}

	fmt.Fprint(w, "\n")
	t = tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	row("target", "want", "have", "", "without transfer")
	for _, target := range r.targets() {
		row(target.cells()...)
	}
	return t.Flush()
}

// middle is the boot whose length is the median.
func (r Result) middle() Sample {
	for _, s := range r.Full {
		if s.Boot == r.Boot() {
			return s
		}
	}
	return Sample{}
}

func (s Sample) phase(name string) time.Duration {
	for _, p := range s.Phases {
		if p.Name == name {
			return p.Took
		}
	}
	return 0
}

func phases(s Sample) string {
	var words []string
	for _, p := range s.Phases {
		if p.Took >= 10*time.Millisecond {
			words = append(words, p.Name+" "+seconds(p.Took))
		}
	}
	return strings.Join(words, ", ")
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) }

func mib(n int64) string { return fmt.Sprintf("%.0f", float64(n)/(1<<20)) }
