package bench

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// console is what stage 2 prints after a boot by the agent, in short.
const console = `Booting from ROM...
stage-1-init: network (5/8): bring up the network
bench: MemTotal:        2000000 kB
bench: MemAvailable:    1800000 kB
bench:               count:    1000
bench:               count:    24
bench: log: [    2.250000] Run /init as init process
bench: log: [    2.500000] stage-1-init: pseudo (1/8): mount the special file systems
bench: log: [    2.510000] stage-1-init: pseudo (1/8): done, 0.010 s
bench: log: [    2.510500] stage-1-init: image (6/8): get the image
bench: log: [    2.600000] stage-1-init: image: nothing vouches for it; give rootfs.sha256=
bench: log: [    3.510500] stage-1-init: image (6/8): done, 1.000 s
bench: log: [    3.600000] stage-1-init: handover (8/8): prepare the hand-over to stage 2
bench: log: [    3.650000] stage-1-init: handover (8/8): done, 0.050 s
bench: log: [   13.750000] bench: stage 2
bench: last 5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03  -
`

func TestParseSample(t *testing.T) {
	got, err := ParseSample(console)
	if err != nil {
		t.Fatal(err)
	}
	ms := time.Millisecond
	want := Sample{
		ToInit: 2250 * ms, Boot: 11500 * ms, Used: 200000<<10 - 1024<<12,
		Phases: []Phase{{"start", 250 * ms}, {"pseudo", 10500 * time.Microsecond}, {"image", 1089500 * time.Microsecond}, {"handover", 50 * ms}, {"switch", 10100 * ms}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := LastDigest(console); !strings.HasPrefix(got, "5891b5b5") {
		t.Errorf("digest %q", got)
	}
}

// A boot that did not tell everything has no figures.
func TestParseSampleMissing(t *testing.T) {
	for _, without := range []string{"bench: MemAvailable", "Run /init", "bench: stage 2"} {
		if s, err := ParseSample(strings.ReplaceAll(console, without, "")); err == nil {
			t.Errorf("without %q: %+v", without, s)
		}
	}
}

func TestTargets(t *testing.T) {
	var r Report
	for name, boot := range map[string]time.Duration{
		scriptUdev: 5 * time.Second, script: 2 * time.Second, scriptSHA256: 3 * time.Second,
		agent: 2 * time.Second, agentAll: 4 * time.Second, agentSHA256: 3 * time.Second, agentAll256: 4 * time.Second,
	} {
		samples := []Sample{{Boot: boot, ToInit: time.Second}, {Boot: boot + time.Second}, {Boot: boot - time.Second}}
		r.Results = append(r.Results, Result{Contender: Contender{Name: name, Size: 6_500_000}, Full: samples, Tiny: samples})
	}
	var text strings.Builder
	if err := r.Write(&text); err != nil {
		t.Fatal(err)
	}
	lines := map[string]string{
		"(agent) / (script with udev)":            "<= 0.60 0.40 met 0.40",
		"(agent, every NIC) / (script with udev)": "<= 0.60 0.80 missed by 0.20 0.80",
		"(agent) / (script)":                      "<= 1.10 1.00 met 1.00",
		"the initrd with every NIC":               "<= 6.00 MB 6.50 MB missed by 0.50 MB",
	}
	for line := range strings.Lines(text.String()) {
		for name, want := range lines {
			if rest, ok := strings.CutPrefix(line, name+" "); ok {
				delete(lines, name)
				if got := strings.Join(strings.Fields(rest), " "); got != want {
					t.Errorf("%s: %s, want %s", name, got, want)
				}
			}
		}
	}
	if len(lines) > 0 {
		t.Errorf("no such lines: %v\n%s", lines, &text)
	}
}
