package stream

import (
	"encoding/json"
	"fmt"
	"os"
)

// StatusFile tells how far the stream is: a Status.
const StatusFile = "/run/netstage/stream.json"

// lineFile says it in a line, for the status of a unit.
const lineFile = "/run/netstage/stream.txt"

// Status is how far a stream is.
type Status struct {
	State     string  `json:"state"` // streaming, demand or complete
	Bytes     int64   `json:"bytes"` // of the image that are there
	Total     int64   `json:"total"`
	Received  int64   `json:"received"` // from servers
	Seconds   float64 `json:"seconds"`  // since the stream began
	Reads     uint64  `json:"reads"`
	Waited    uint64  `json:"waited"` // of these
	LongestMS int64   `json:"longest_wait_ms"`
	Restarts  uint64  `json:"restarts,omitempty"` // of the worker
	Waiting   string  `json:"waiting,omitempty"`  // what a reader waits for now
}

func (s *shared) status() Status {
	return Status{
		Bytes: s.have(), Total: s.size, Received: int64(s.get(wordReceived)),
		Seconds: since(s.get(wordStarted)).Seconds(),
		Reads:   s.get(wordReads), Waited: s.get(wordWaited), LongestMS: int64(s.get(wordLongest)) / 1e6, Restarts: s.get(wordRestarts),
	}
}

// ReadStatus reads a file that a stream has left.
func ReadStatus(file string) (Status, error) {
	var s Status
	text, err := os.ReadFile(file)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("%s: %w", file, err)
	}
	return s, nil
}

// line tells of it in one.
func (s Status) line() string {
	line := fmt.Sprintf("%d of %d MiB", s.Bytes>>20, s.Total>>20)
	if s.Waiting != "" {
		line += "; " + s.Waiting
	}
	return line
}

// Lines tell of it to people.
func (s Status) Lines() []string {
	how := map[string]string{"streaming": "the rest comes", "demand": "what is read is fetched", "complete": "the image is whole"}[s.State]
	lines := []string{
		fmt.Sprintf("%d of %d MiB are there, %d MiB received in %.1f s; %s", s.Bytes>>20, s.Total>>20, s.Received>>20, s.Seconds, how),
		fmt.Sprintf("%d of %d reads waited, the longest %d ms", s.Waited, s.Reads, s.LongestMS),
	}
	if s.Restarts > 0 {
		lines = append(lines, fmt.Sprintf("the process that fetches was started again %d times", s.Restarts))
	}
	if s.Waiting != "" {
		lines = append(lines, s.Waiting)
	}
	return lines
}
