package stage1

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Timeline records when the steps ran, in time since the kernel started
// (CLOCK_BOOTTIME), which no NTP server moves.
type Timeline struct {
	Started time.Duration // when the agent started
	Spans   []Span
}

// A Span is one run of a step. A step that was retried has several.
type Span struct {
	Step     string
	Start    time.Duration
	Duration time.Duration
	Failure  string // class, or empty
}

// SinceBoot is the time since the kernel started.
func SinceBoot() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// Start opens a span and returns its start.
func (t *Timeline) Start(step string) time.Duration {
	now := SinceBoot()
	t.Spans = append(t.Spans, Span{Step: step, Start: now})
	return now
}

// Done closes the last span of step and returns its duration.
func (t *Timeline) Done(step string, err error) time.Duration {
	for i := len(t.Spans) - 1; i >= 0; i-- {
		if s := &t.Spans[i]; s.Step == step {
			s.Duration = SinceBoot() - s.Start
			if err != nil {
				s.Failure = ClassOf(err)
			}
			return s.Duration
		}
	}
	return 0
}

// Report is the boot's record for stage 2, /run/netstage/boot.json. All times
// are in milliseconds.
type Report struct {
	Version    int          `json:"version"` // of this format
	Agent      string       `json:"agent"`
	StartMS    int64        `json:"start_ms"` // the agent's start, since the kernel's
	DurationMS int64        `json:"duration_ms"`
	Steps      []ReportStep `json:"steps"`
	Image      *ReportImage `json:"image,omitempty"`
	Network    *ReportLease `json:"network,omitempty"`
}

// ReportStep is one run of a step.
type ReportStep struct {
	Name       string `json:"name"`
	StartMS    int64  `json:"start_ms"` // since the kernel's start
	DurationMS int64  `json:"duration_ms"`
	Failure    string `json:"failure,omitempty"` // class
}

// ReportImage says where the system came from.
type ReportImage struct {
	Source string `json:"source"` // without credentials
	Size   int64  `json:"size"`   // bytes
	// What it was verified by, in hex.
	SHA256   string          `json:"sha256,omitempty"`
	RootHash string          `json:"roothash,omitempty"`
	Manifest *ReportManifest `json:"manifest,omitempty"`
	Layout   string          `json:"layout,omitempty"`
}

// ReportManifest says what allowed the image.
type ReportManifest struct {
	Source string `json:"source"` // without credentials
	Name   string `json:"name"`
	Key    string `json:"key"` // the ID of the key that signed it
}

// ReportLease says how the machine was on the network.
type ReportLease struct {
	Link    string `json:"link"`
	MAC     string `json:"mac"`
	Address string `json:"address"` // with prefix length
	Server  string `json:"server,omitempty"`
}

// summary is the timeline in one line.
func (t *Timeline) summary() string {
	var text strings.Builder
	for _, s := range t.Spans {
		fmt.Fprintf(&text, "%s %.3f ", s.Step, s.Duration.Seconds())
	}
	return strings.TrimSpace(text.String())
}

// report fills in a report's times.
func (t *Timeline) report(r *Report) {
	r.StartMS, r.DurationMS = t.Started.Milliseconds(), (SinceBoot() - t.Started).Milliseconds()
	for _, s := range t.Spans {
		r.Steps = append(r.Steps, ReportStep{s.Step, s.Start.Milliseconds(), s.Duration.Milliseconds(), s.Failure})
	}
}

// write puts the report at path, whole or not at all.
func (r Report) write(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return os.Rename(path+".new", path)
}
