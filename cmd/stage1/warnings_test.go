package main

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"netstage/debug/sentence"
	"netstage/stage1/fault"
	"netstage/stage1/report"
)

// The report has what was warned of and what about, not what was told.
func TestWarningsForTheReport(t *testing.T) {
	var w warnings
	log := slog.New(sentence.NewHandler(slog.LevelDebug, func(l sentence.Line) error { w.add(l); return nil }))
	for i := range mostWarnings {
		log.Warn(fmt.Sprint(i))
	}
	log.With("link", "eth0").Info("carrier")
	log.With("what", "image", "mirror", "10.0.0.1:80").Warn("503", "class", "http-5xx")
	log.With("link", "eth0").Warn("renew", "err", fmt.Errorf("later: %w", fault.Errorf(fault.NoLease, "no answer")))
	log.With("step", "network (5/8)").Error("no-lease", "class", "no-lease", "err", fmt.Errorf("nobody answered"))
	got := w.list()
	if len(got) != mostWarnings || got[0].Text != "3" {
		t.Fatalf("%d warnings, the first %+v", len(got), got[0])
	}
	want := []report.Warning{
		{Text: "image: 10.0.0.1:80: 503", What: "image", Mirror: "10.0.0.1:80", Class: "http-5xx"},
		{Text: "eth0: renew: later: no answer", Link: "eth0", Class: "no-lease"},
		{Text: "network (5/8): no-lease: nobody answered", Step: "network (5/8)", Class: "no-lease", Error: true},
	}
	if diff := cmp.Diff(want, got[mostWarnings-3:], cmpopts.IgnoreFields(report.Warning{}, "AtMS")); diff != "" {
		t.Error(diff)
	}
}
