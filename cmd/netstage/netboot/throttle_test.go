package netboot

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// Two answers at once share the rate. They can't be faster than it, however
// busy the machine is; nothing here says how slow they may be.
func TestThrottle(t *testing.T) {
	const size, rate = 200_000, 1_000_000
	s := httptest.NewServer(Throttle(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, size)) }), rate))
	defer s.Close()
	begun := time.Now()
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			resp, err := http.Get(s.URL)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if n, err := io.Copy(io.Discard, resp.Body); n != size || err != nil {
				t.Errorf("%d bytes, %v", n, err)
			}
		})
	}
	both.Wait()
	if took := time.Since(begun); took < 2*size*time.Second/rate {
		t.Errorf("400 kB at 1 MB/s took %v", took)
	}
}
