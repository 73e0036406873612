package fetch

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"netstage/fetch/faulty"
	"netstage/fetch/pace"
)

// TestStorm has many machines ask at once for what a server first refuses, then
// drops, then serves.
func TestStorm(t *testing.T) {
	const machines = 60
	content := imageBytes(200_000)
	s := serve(t, content, faulty.Behaviour{Status: 503, Times: 2 * machines}, faulty.Behaviour{End: faulty.EndReset, Cut: 70_000, Times: machines})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var all sync.WaitGroup
	for i := range machines {
		all.Go(func() {
			blob, err := GetBlob(ctx, Request{
				Mirrors: mirrors(s.URL("x")), SHA256: sum(content), Seed: uint64(i), Log: slog.New(slog.DiscardHandler),
				Backoff: pace.Backoff{Base: 20 * time.Millisecond, Cap: 300 * time.Millisecond},
			}, 1<<20)
			if err != nil {
				t.Errorf("machine %d: %v", i, err)
				return
			}
			if !bytes.Equal(blob.Bytes, content) {
				t.Errorf("machine %d has other bytes", i)
			}
			if err := blob.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	var served int64
	for _, e := range s.Log() {
		if e.Status == 200 || e.Status == 206 {
			served += e.Sent
		}
	}
	// What was received before a reset is not fetched again, but for what was
	// under way.
	if most := int64(machines) * (200_000 + 70_000); served > most {
		t.Errorf("%d bytes served to %d machines", served, machines)
	}
}
