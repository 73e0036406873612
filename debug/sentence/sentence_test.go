package sentence

import (
	"errors"
	"log/slog"
	"slices"
	"testing"
)

func TestText(t *testing.T) {
	var last Line
	log := slog.New(NewHandler(slog.LevelDebug, func(l Line) error { last = l; return nil }))
	eth0, failed := log.With("link", "eth0"), errors.New("no answer")
	for _, test := range []struct {
		say   func()
		want  string
		attrs []string
	}{
		{func() { log.Info("drivers: e1000") }, "drivers: e1000", nil},
		{func() { eth0.Info("carrier") }, "eth0: carrier", []string{"link=eth0"}},
		{func() { eth0.Warn("renew", "err", failed) }, "eth0: renew: no answer", []string{"link=eth0", "err=no answer"}},
		{func() { eth0.With("mirror", "http://a/").Warn("503", "class", "server", "err", failed) }, "eth0: http://a/: 503: no answer",
			[]string{"link=eth0", "mirror=http://a/", "class=server", "err=no answer"}},
		{func() { eth0.Error("no-lease", "class", "no-lease", "err", failed) }, "eth0: no-lease: no answer", []string{"link=eth0", "class=no-lease", "err=no answer"}},
		{func() { eth0.Warn("no answer, next try in 2 s", "err", failed) }, "eth0: no answer, next try in 2 s", []string{"link=eth0", "err=no answer"}},
		{func() { log.With("link", "").Info("two\nlines\n", "class", "") }, "two\nlines", []string{"link=", "class="}},
		{func() { log.WithGroup("net").With("link", "eth1").Info("up", slog.Group("", "mtu", 1400)) }, "eth1: up", []string{"net.link=eth1", "net.=[mtu=1400]"}},
	} {
		test.say()
		var attrs []string
		for _, a := range last.Attrs {
			attrs = append(attrs, a.String())
		}
		if last.Text != test.want || !slices.Equal(attrs, test.attrs) {
			t.Errorf("%q with %q, want %q with %q", last.Text, attrs, test.want, test.attrs)
		}
	}
}

// A logger that two others are made of does not mix their attributes up.
func TestBranches(t *testing.T) {
	var last string
	log := slog.New(NewHandler(slog.LevelInfo, func(l Line) error { last = l.Text; return nil })).With("a", 1).With("b", 2).With("c", 3)
	x, y := log.With("d", "x"), log.With("d", "y")
	if x.Info("."); last != "1: 2: 3: x: ." {
		t.Error(last)
	}
	if y.Info("."); last != "1: 2: 3: y: ." {
		t.Error(last)
	}
	if log.Debug("less"); last != "1: 2: 3: y: ." {
		t.Error("below the level:", last)
	}
}
