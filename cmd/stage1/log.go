package main

import (
	"context"
	"io"
	"log/slog"
	"strings"

	"golang.org/x/term"

	"netstage/debug/console"
	"netstage/debug/kmsg"
	"netstage/debug/syslog"
	"netstage/stage1/reporting"
)

// journal is where a child's lines go: the kernel log, the console, and a
// ring of the last ones for the failure screen.
type journal struct {
	*slog.Logger
	kernel   *kmsg.Writer // nil: there is no kernel log
	level    slog.LevelVar
	ring     *kmsg.Ring
	warnings warnings

	printing *kmsg.Printing
	screen   *console.Line
	stdout   *console.Writer
}

// wrap makes a terminal break long lines (DECAWM). BIOSes on serial consoles,
// SeaBIOS for one, leave it to print the rest of a line over its last column.
const wrap = "\x1b[?7h"

// openJournal needs /proc and /dev. Without the kernel log all lines go to
// the console alone.
func openJournal() *journal {
	j := &journal{ring: kmsg.NewRing(200)}
	const stdout = 1
	width, _ := console.Size(stdout)
	terminal := term.IsTerminal(stdout)
	j.stdout = console.NewWriter(stdout)
	if terminal {
		io.WriteString(j.stdout, wrap)
	}
	j.screen = console.NewLine(j.stdout, terminal, width)
	log, err := kmsg.Open("/dev/kmsg")
	if err != nil {
		log = nil
	} else {
		log.Tag = tag
	}
	j.kernel = log
	off, limitErr := kmsg.Unlimit("")
	if off {
		j.kernel, log = nil, nil // it would take all and keep nothing
	}
	j.printing = kmsg.ReadPrinting("", "")
	j.Logger = slog.New(kmsg.NewHandler(kmsg.HandlerOptions{
		Kmsg: log, Console: j.screen, Ring: j.ring, Tag: tag, Level: &j.level, Printing: j.printing, Each: j.warnings.add,
	}))
	if err != nil {
		j.Warn("the kernel log can't be written: " + err.Error())
	}
	if limitErr != nil {
		j.Warn("the kernel log may drop lines: " + limitErr.Error())
	}
	if off {
		j.Warn("the kernel log has none of these lines: printk.devkmsg=off")
	}
	return j
}

// kernelLog is the end of the kernel log, as far as it can be read.
func kernelLog(lines int) []string {
	last, _ := kmsg.Last(context.Background(), "", lines, nil)
	return last
}

// forward sends the kernel log to a collector.
func forward(ctx context.Context, t reporting.LogTarget) error {
	return syslog.Forward(ctx, syslog.Options{
		Hostname: t.Hostname, App: strings.TrimSuffix(tag, ": "), Dial: t.Dial, Blank: t.Blank, Since: t.Since, Warn: t.Warn,
	})
}

// under begins the lines of a failure that are below its first.
const under = "  "

// forTheKernelLog writes a failure, which the consoles have in another form.
func (j *journal) forTheKernelLog(failure []string) {
	if j.kernel != nil {
		_ = j.kernel.Log(kmsg.PrioInfo, strings.Join(failure, "\n"+under))
	}
}

// aboutFailure recognises what forTheKernelLog wrote, in a line with its stamp
// and without its tag.
func aboutFailure(line string) bool {
	_, text, _ := strings.Cut(line, "] ")
	return strings.HasPrefix(text, under) || strings.HasPrefix(text, "boot failed: ")
}

// page writes all that the agent said: what the kernel log has, also of
// earlier attempts, or what this process said.
func (j *journal) page(ctx context.Context, w io.Writer) error {
	const most = 10000
	_, err := io.WriteString(w, strings.Join(j.last(ctx, most), "\n")+"\n")
	return err
}

// last are the last n lines of the agent, without the tag: those of the kernel
// log, where they can be read, because this process may be one of several.
func (j *journal) last(ctx context.Context, n int) []string {
	own := func(r kmsg.Record) bool { return strings.HasPrefix(r.Text, tag) }
	lines, err := kmsg.Last(ctx, "", n, own)
	if err != nil || len(lines) == 0 {
		lines = j.ring.Lines()
	}
	for i := range lines {
		lines[i] = strings.Replace(lines[i], tag, "", 1)
	}
	return lines
}
