package stage1

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"time"

	"netstage/nix"
	"netstage/stage1/step"
)

// stateFile is what systemd leaves to itself when it switches roots, as far as
// there is anything to leave here: when the initrd began. With it
// systemd-analyze tells the initrd's time. PID 1 gives it to an init that is
// systemd; the NixOS module starts systemd with it where a script is init.
const stateFile = "/run/netstage/systemd-state"

// systemdState is the start of the agent in systemd's words (systemd:
// src/core/manager-serialize.c, dual timestamps): microseconds of
// CLOCK_REALTIME, by the clock as it is set now, and of CLOCK_MONOTONIC, which
// counts like CLOCK_BOOTTIME on a machine that has not slept yet.
func systemdState(started, sinceBoot time.Duration, now time.Time) string {
	return fmt.Sprintf("initrd-timestamp=%d %d\n", now.Add(started-sinceBoot).UnixMicro(), started.Microseconds())
}

func writeSystemdState(started time.Duration) error {
	if err := os.MkdirAll(filepath.Dir(stateFile), 0o755); err != nil {
		return err
	}
	return os.WriteFile(stateFile, []byte(systemdState(started, step.SinceBoot(), time.Now())), 0o644)
}

// stateFor is the file for an init that takes it, or empty. NixOS's own systemd
// is called init.
func stateFor(s nix.System) string {
	if s.Kind != nix.PrepareRoot && s.Kind != nix.NixosInit && path.Base(s.Init) != "systemd" {
		return ""
	}
	return stateFile
}
