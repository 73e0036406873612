package main

import (
	"strings"
	"testing"
)

func TestImageUsage(t *testing.T) {
	for args, want := range map[string]string{
		"-o x":                                   "which folder?",
		"a b -o x":                               `what is "b"?`,
		"--toplevel /a --root /b -o x":           "one of --toplevel",
		"--toplevel /a":                          "where to?",
		"a --boot -o x":                          "--boot needs --toplevel",
		"a --all-in-one -o x":                    "needs --initrd",
		"a --initrd b -o x":                      "goes with --all-in-one",
		"a --store b -o x":                       "where the paths",
		"a --manifest -o x":                      "what may be started?",
		"--toplevel /a --boot --all-in-one -o x": "which?",
	} {
		status, _, says := runTool(append([]string{"image"}, strings.Fields(args)...)...)
		if status != exitUsage || !strings.Contains(says, want) {
			t.Errorf("%s: status %d, %s", args, status, says)
		}
	}
	if status, _, says := runTool("image", "--toplevel", "/no/such/system", "-o", t.TempDir()+"/x"); status != exitFailure || !strings.Contains(says, "/no") {
		t.Errorf("status %d, %s", status, says)
	}
}
