package main

import (
	"bytes"
	"strings"
	"testing"

	"netstage/debug/kmsg"
)

// What the kernel log has of an earlier failure is told from the agent's other
// lines, which the screen of the next one shows.
func TestLinesOfAFailureAreRecognised(t *testing.T) {
	var log bytes.Buffer
	j := journal{kernel: kmsg.New(&log)}
	j.kernel.Tag = tag
	j.forTheKernelLog([]string{"boot failed: no-lease: nobody answered", "step: network", "advice: look at the cable"})
	lines := strings.Split(strings.TrimSuffix(log.String(), "\n"), "\n")
	if len(lines) != 3 || lines[2] != "<6>stage-1-init:   advice: look at the cable" {
		t.Errorf("%q", lines)
	}
	for _, line := range lines {
		text, _ := strings.CutPrefix(line, "<6>"+tag)
		if !aboutFailure("[    3.214567] " + text) {
			t.Errorf("%q is not recognised", line)
		}
	}
	for _, line := range []string{"[    3.214567] network: still waiting", "[   12.000001] image (6/8): get the image"} {
		if aboutFailure(line) {
			t.Errorf("%q is taken for a failure's", line)
		}
	}
}
