package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"netstage/stage1/report"
)

const reportHelp = `Renders the report of a boot for people: what a machine leaves in
/run/netstage/boot.json, and sends to boot.report=. FILE - is standard input.

With --expect it also fails where the boot is in another state: good, complete,
check, failed or running (or cut off). A rollout can wait for a canary so, which was
booted with boot.check.

examples:
  netstage report /run/netstage/boot.json
  netstage report --expect check /srv/boot/reports/52-54-00-12-34-56/20261127T030405.123Z.json`

func newReport(std streams) *cobra.Command {
	fs := newFlags()
	expect := fs.String("expect", "", "the `STATE` that the boot has to be in: good, complete, check, failed or running")
	return newCommand("netstage report FILE [--expect STATE]", "render the report of a boot", reportHelp, fs,
		func(_ context.Context, files []string) error {
			if len(files) != 1 {
				return usageError("which report? Give one FILE")
			}
			states := []report.State{"", report.Good, report.Complete, report.Check, report.Failed, report.Running}
			if !slices.Contains(states, report.State(*expect)) {
				return usageError(fmt.Sprintf("--expect %s: want good, complete, check, failed or running", *expect))
			}
			r, err := readReport(std.in, files[0])
			if err != nil {
				return err
			}
			if _, err := io.WriteString(std.out, r.Text(80)); err != nil {
				return err
			}
			if *expect != "" && r.State != report.State(*expect) {
				return fmt.Errorf("the boot's state is %s, not %s", r.State, *expect)
			}
			return nil
		})
}

func readReport(in io.Reader, name string) (report.Report, error) {
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return report.Report{}, err
		}
		defer file.Close()
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, report.Most+1))
	if err != nil {
		return report.Report{}, err
	}
	r, err := report.Parse(text)
	if err != nil && name != "-" {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return r, err
}
