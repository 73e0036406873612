package netboot

import (
	"net/http"
	"sync"
	"time"
)

// Throttle has a handler send no more than rate bytes a second, all its answers
// together, as a link of that rate would.
func Throttle(h http.Handler, rate int64) http.Handler {
	l := &link{rate: rate}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(&throttled{w, l}, r)
	})
}

// link is free again at a time.
type link struct {
	rate int64
	mu   sync.Mutex
	free time.Time
}

// pass waits until n bytes may follow those before.
func (l *link) pass(n int) {
	l.mu.Lock()
	now := time.Now()
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(n) * time.Second / time.Duration(l.rate))
	wait := l.free.Sub(now)
	l.mu.Unlock()
	time.Sleep(wait)
}

type throttled struct {
	http.ResponseWriter
	link *link
}

func (t *throttled) Write(p []byte) (n int, err error) {
	const piece = 16 << 10
	for len(p) > 0 && err == nil {
		part := p[:min(len(p), piece)]
		t.link.pass(len(part))
		var m int
		m, err = t.ResponseWriter.Write(part)
		n, p = n+m, p[len(part):]
	}
	return n, err
}

// Unwrap lets http.ResponseController find what is beneath.
func (t *throttled) Unwrap() http.ResponseWriter { return t.ResponseWriter }
