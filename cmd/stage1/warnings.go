package main

import (
	"cmp"
	"log/slog"
	"sync"

	"netstage/debug/kmsg"
	"netstage/debug/sentence"
	"netstage/stage1/fault"
	"netstage/stage1/report"
)

// mostWarnings is how many of the newest a report has.
const mostWarnings = 64

// warnings are what a process has warned of, for the report.
type warnings struct {
	mu     sync.Mutex
	newest []report.Warning
}

func (w *warnings) add(l sentence.Line) {
	if l.Level < slog.LevelWarn {
		return
	}
	warning := report.Warning{AtMS: kmsg.Uptime().Milliseconds(), Error: l.Level >= slog.LevelError, Text: l.Text}
	for _, a := range l.Attrs {
		value := a.Value.String()
		switch a.Key {
		case "what":
			warning.What = value
		case "step":
			warning.Step = value
		case "link":
			warning.Link = value
		case "mirror":
			warning.Mirror = value
		case "class":
			warning.Class = fault.Class(value)
		case "err":
			err, _ := a.Value.Any().(error)
			warning.Class = cmp.Or(warning.Class, fault.GivenClass(err))
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.newest) == mostWarnings {
		w.newest = w.newest[1:]
	}
	w.newest = append(w.newest, warning)
}

// list returns those that are kept, oldest first.
func (w *warnings) list() []report.Warning {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]report.Warning(nil), w.newest...)
}
