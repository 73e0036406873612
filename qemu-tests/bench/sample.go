package bench

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A Sample is one boot.
type Sample struct {
	// ToInit is from the kernel's start to its line "Run /init".
	ToInit time.Duration
	// Boot is from there to the first act of stage 2. Both ends are stamps of
	// the kernel's log.
	Boot time.Duration
	// Used is MemTotal less MemAvailable at stage 2, in bytes, less the free
	// pages on the processors' lists: all that can't be had. The image is part
	// of it, whether in the initramfs or in a tmpfs of its own: memory of
	// neither can be reclaimed. Page cache can.
	Used int64
	// Peak is the most memory that QEMU had, in bytes: the machine's, as far
	// as it was ever touched, and QEMU's translations of its code.
	Peak int64
	// Phases are the parts of Boot, in order.
	Phases []Phase
}

// A Phase is a part of a boot that its program marked in the kernel's log.
type Phase struct {
	Name string
	Took time.Duration
}

var (
	logLine    = regexp.MustCompile(`(?m)^bench: log: \[ *([0-9]+)\.([0-9]{6})\] (.*)$`)
	memoryLine = regexp.MustCompile(`(?m)^bench: (MemTotal|MemAvailable): +([0-9]+) kB$`)
	countLine  = regexp.MustCompile(`(?m)^bench: +count: +([0-9]+)$`)
	standIns   = regexp.MustCompile(`^bench: ([a-z0-9]+)$`)
	agents     = regexp.MustCompile(`^stage-1-init: ([a-z]+) \([0-9]/[0-9]\): `)
	lastDigest = regexp.MustCompile(`(?m)^bench: last ([0-9a-f]{64})`)
)

// ParseSample reads what stage 2 printed on the console.
func ParseSample(console string) (Sample, error) {
	var s Sample
	memory := map[string]int64{}
	for _, m := range memoryLine.FindAllStringSubmatch(console, -1) {
		kib, err := strconv.ParseInt(m[2], 10, 64)
		if err != nil {
			return s, err
		}
		memory[m[1]] = kib << 10
	}
	if len(memory) != 2 {
		return s, fmt.Errorf("stage 2 told of no memory")
	}
	s.Used = memory["MemTotal"] - memory["MemAvailable"]
	for _, m := range countLine.FindAllStringSubmatch(console, -1) {
		pages, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil {
			return s, err
		}
		s.Used -= pages << 12
	}

	type mark struct {
		at   time.Duration
		name string
	}
	var marks []mark
	ended := false
	for _, m := range logLine.FindAllStringSubmatch(console, -1) {
		seconds, err := strconv.Atoi(m[1])
		if err != nil {
			return s, err
		}
		micros, err := strconv.Atoi(m[2])
		if err != nil {
			return s, err
		}
		at := time.Duration(seconds)*time.Second + time.Duration(micros)*time.Microsecond
		switch {
		case strings.HasPrefix(m[3], "Run /init"):
			s.ToInit = at
			marks = append(marks, mark{at, "start"})
		case m[3] == "bench: stage 2":
			s.Boot, ended = at-s.ToInit, true
			marks = append(marks, mark{at, ""})
		default:
			if name := phaseName(m[3]); name != "" && !ended && (len(marks) == 0 || marks[len(marks)-1].name != name) {
				marks = append(marks, mark{at, name})
			}
		}
	}
	if s.ToInit == 0 || !ended {
		return s, fmt.Errorf("the kernel's log lacks the begin of /init or of stage 2")
	}
	for i := range len(marks) - 1 {
		s.Phases = append(s.Phases, Phase{marks[i].name, marks[i+1].at - marks[i].at})
	}
	return s, nil
}

// phaseName is the name of the phase that a line begins, or "". The end of the
// agent's last step begins the switch.
func phaseName(line string) string {
	if m := standIns.FindStringSubmatch(line); m != nil {
		return m[1]
	}
	m := agents.FindStringSubmatch(line)
	switch {
	case m == nil:
		return ""
	case !strings.Contains(line, "): done"):
		return m[1]
	case m[1] == "handover":
		return "switch"
	}
	return ""
}

// LastDigest is the digest of the image's last file that stage 2 printed, or
// "".
func LastDigest(console string) string {
	m := lastDigest.FindStringSubmatch(console)
	if m == nil {
		return ""
	}
	return m[1]
}
