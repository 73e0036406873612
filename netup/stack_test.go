package netup

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"netstage/netup/internal/plan"
	"netstage/netup/ipparam"
)

// A bond that is there already is set up once its mode is written, however
// late that begins.
func TestBondWaitsForItsMode(t *testing.T) {
	for range 200 {
		s := &stack{plan: plan.Plan{Config: ipparam.Config{Bonds: []ipparam.Bond{{Name: "bond0"}}}}, lower: map[int]bool{}}
		var wg sync.WaitGroup
		var written atomic.Bool
		s.do(&wg, []func(){func() { written.Store(true) }})
		if !s.wait(&link{name: "bond0", ctx: t.Context()}) || !written.Load() {
			t.Fatal("set up before its mode is written")
		}
		wg.Wait()
	}
	// What ends meanwhile waits no longer, and a card waits for no bond.
	s := &stack{plan: plan.Plan{Config: ipparam.Config{Bonds: []ipparam.Bond{{Name: "bond0"}}}}, lower: map[int]bool{}}
	var wg sync.WaitGroup
	release := make(chan struct{})
	s.do(&wg, []func(){func() { <-release }})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s.wait(&link{name: "bond0", ctx: ctx}) || !s.wait(&link{name: "eth0", ctx: ctx}) {
		t.Error("waits for another link's work")
	}
	close(release)
	wg.Wait()
}
