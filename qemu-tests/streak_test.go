package qemutests

import (
	"net/http"
	"sync/atomic"
	"testing"

	"netstage/cmd/netstage/vm"
	"netstage/qemu-tests/system"
)

// A machine whose image is missing reboots by itself; its firmware remembers,
// so that the next failure says that it is the second and waits longer; and a
// boot that succeeds, because the image is there again, forgets.
func TestQEMUFailedBootsInARow(t *testing.T) {
	t.Parallel()
	a := store(t, classic())
	c := guest(t, xzModules)
	c.Direct, c.UEFI, c.Image, c.Init, c.Unverified = true, true, a.path, system.Init, true
	c.Append = "boot.fail_timeout=1"
	var there atomic.Bool
	c.Wrap = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !there.Load() {
				http.NotFound(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	m := start(t, c)
	if _, err := m.QMP(m.ctx, "set-action", map[string]any{"reboot": "reset"}); err != nil {
		t.Fatal(err)
	}
	m.expect("boot failed: http-404")
	m.expect("Step: image")
	m.expect("rebooting")
	m.expect("boot failed: http-404")
	m.expect("; failed boot 2 in a row")
	m.expect("Keys: ")
	there.Store(true)
	m.send(" ") // retry
	m.expect("this boot succeeds, after 1 that failed")
	m.end(vm.PowerOff, "stage 2 done")
}
