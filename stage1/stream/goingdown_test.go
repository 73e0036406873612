package stream

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestAShutdownIsSeen(t *testing.T) {
	d := shutdown{up: filepath.Join(t.TempDir(), "up")}
	now := time.Now()
	later := func() time.Duration {
		now = now.Add(2 * time.Second)
		d.look(now)
		return d.limit(0)
	}
	put := func() {
		if err := os.WriteFile(d.up, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if l := later(); l != 0 {
		t.Errorf("before systemd is there reads wait %v", l)
	}
	put()
	if l := later(); l != 0 {
		t.Errorf("while the machine is up reads wait %v", l)
	}
	os.Remove(d.up)
	if l := later(); l != downRead {
		t.Errorf("in a shutdown reads wait %v", l)
	}
	if l := d.limit(2 * time.Second); l != 2*time.Second {
		t.Errorf("a read that was to wait 2 s waits %v", l)
	}
	d.readEnded(now, false)
	if l := later(); l != downNext {
		t.Errorf("after one has waited in vain reads wait %v", l)
	}
	d.readEnded(now, true)
	if l := later(); l != downRead {
		t.Errorf("after an answer reads wait %v", l)
	}
	if now = now.Add(downLimit); d.stuck(now) {
		t.Error("a shutdown that reads is stuck")
	}
	if d.readEnded(now, false); !d.stuck(now) {
		t.Error("a shutdown that reads in vain for minutes is not stuck")
	}
	put()
	if l := later(); l != 0 {
		t.Errorf("after a soft reboot reads wait %v", l)
	}
}

func TestTheUnitsAreLeftTwice(t *testing.T) {
	dir := t.TempDir()
	for range 2 { // a retry
		if err := watchSystemd(dir); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "sockets.target.wants/netstage-stream.socket"))
	if err != nil || string(text) != upSocket {
		t.Errorf("%s, %v", text, err)
	}
}
