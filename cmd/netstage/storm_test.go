package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"netstage/fetch/faulty"
)

// All clients get the image from a server that first refuses, then drops, and
// the tool counts what the server saw.
func TestStorm(t *testing.T) {
	const clients = 50
	content := bytes.Repeat([]byte("x"), 300_000)
	s := serveFaulty(t, content, faulty.Behaviour{Status: 503, Times: 2 * clients}, faulty.Behaviour{End: faulty.EndReset, Cut: 100_000, Times: clients})
	status, stdout, stderr := runTool("storm", s.URL("image"), "--clients", fmt.Sprint(clients), "--timeout", "2m", "--sha256", fmt.Sprintf("%x", sha256.Sum256(content)))
	requests := len(s.Log())
	for _, want := range []string{
		"50 of 50 clients have the image", fmt.Sprintf("; %d requests, ", requests), "all started at once", "in one second at most ", " times their mean (o: starts, #: retries):\n    0s ",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	if status != exitOK || requests < 3*clients {
		t.Errorf("status %d, %d requests, %s", status, requests, stderr)
	}
}

func TestStormFails(t *testing.T) {
	s := serveFaulty(t, nil, faulty.Behaviour{Status: 404, Times: -1})
	status, stdout, stderr := runTool("storm", s.URL("image"), "--clients", "3")
	if status != exitFailure || !strings.Contains(stdout, "3 failed: http-404\n") || !strings.Contains(stderr, "3 of 3 clients have no image") {
		t.Errorf("status %d, %s%s", status, stdout, stderr)
	}
}
