package uevent

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"
)

func FuzzParse(f *testing.F) {
	f.Add([]byte("add@/devices/pci0000:00/0000:00:03.0\x00ACTION=add\x00SUBSYSTEM=pci\x00MODALIAS=pci:v1\x00"))
	f.Add([]byte("libudev\x00\xfe\xed\xca\xfe"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, ok := Parse(b)
		if ok && (e.Action == "" || !strings.HasPrefix(e.Devpath, "/")) {
			t.Fatalf("%+v", e)
		}
	})
}

func TestParse(t *testing.T) {
	e, ok := Parse([]byte("add@/devices/x\x00ACTION=add\x00SUBSYSTEM=pci\x00MODALIAS=pci:a=b\x00SEQNUM=7\x00"))
	if !ok || e.Action != "add" || e.Devpath != "/devices/x" || e.Subsystem != "pci" || e.Env["MODALIAS"] != "pci:a=b" {
		t.Fatalf("%v %+v", ok, e)
	}
	for _, bad := range []string{"", "add@/x", "@/x\x00", "add\x00", "libudev\x00x=y\x00"} {
		if _, ok := Parse([]byte(bad)); ok {
			t.Errorf("%q is taken", bad)
		}
	}
}

// TestRealEvents listens to the host's kernel while a device's uevent file is
// written to, which makes the kernel send the event again.
func TestRealEvents(t *testing.T) {
	const file = "/sys/devices/virtual/mem/null/uevent"
	if _, err := os.Stat(file); err != nil || os.Geteuid() != 0 {
		t.Skip("needs root and /sys")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := os.WriteFile(file, []byte("change"), 0o200); err != nil {
		t.Skipf("the kernel's events cannot be asked for here: %v", err)
	}
	found := false
	err = s.Receive(ctx, slog.New(slog.DiscardHandler), func(e Event) {
		if e.Devpath == "/devices/virtual/mem/null" && e.Action == "change" && e.Subsystem == "mem" {
			found = true
			cancel()
		}
	})
	if err != nil || !found {
		t.Fatalf("found %v, %v", found, err)
	}
}
