package fetch

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"netstage/fetch/faulty"
	"netstage/fetch/pace"
)

// fullLink is a link that one stream fills: whoever dials through it shares
// its rate, and every read brings between one byte and a segment.
type fullLink struct {
	rate int64 // bytes per second

	mu   sync.Mutex
	dice *rand.Rand
	free time.Time // when the link has sent all that was read
}

func newFullLink(rate int64, seed uint64) *fullLink {
	return &fullLink{rate: rate, dice: rand.New(rand.NewPCG(seed, 1))}
}

func (l *fullLink) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return linkConn{c, l}, nil
}

// size is how much the next read may bring.
func (l *fullLink) size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return 1 + l.dice.IntN(1460)
}

// carry waits until the link has carried n bytes more. It may be 10 ms
// ahead, so that a timer's grain does not count.
func (l *fullLink) carry(n int) {
	l.mu.Lock()
	now := time.Now()
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(n) * time.Second / time.Duration(l.rate))
	ahead := l.free.Sub(now) - 10*time.Millisecond
	l.mu.Unlock()
	time.Sleep(ahead)
}

type linkConn struct {
	net.Conn
	link *fullLink
}

func (c linkConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p[:min(len(p), c.link.size())])
	c.link.carry(n)
	return n, err
}

// inverted are the ranges a server was asked for whose end is before their
// start.
func inverted(s *faulty.Server) (list []string) {
	for _, e := range s.Log() {
		var first, last int64
		if n, _ := fmt.Sscanf(e.Range, "bytes=%d-%d", &first, &last); n == 2 && last < first {
			list = append(list, e.Range)
		}
	}
	return list
}

// TestFullLink has streams tried, dismissed and tried again on a link that
// one of them fills, where a read ends anywhere in a block. Nothing starts
// over, nothing is asked for that no server has, and hardly a byte comes
// twice.
func TestFullLink(t *testing.T) {
	content := imageBytes(8 << 20)
	// A stream of a machine that is busy with other things does not always fill
	// the link: then more of them stay.
	var dismissed atomic.Int64
	t.Cleanup(func() {
		if dismissed.Load() == 0 && !t.Failed() {
			t.Error("no stream was ever dismissed")
		}
	})
	for _, vouched := range []string{"sha256", "verity", "nothing"} {
		for _, mirrors := range []int{1, 3} {
			for seed := range uint64(3) {
				t.Run(fmt.Sprintf("%s, %d mirrors, seed %d", vouched, mirrors, seed), func(t *testing.T) {
					t.Parallel()
					var servers []*faulty.Server
					var urls []string
					for i := range mirrors {
						servers = append(servers, serve(t, content))
						urls = append(urls, servers[i].URL("x"))
					}
					var r Request
					var log *story
					switch vouched {
					case "sha256":
						r, log = quick(t, content, urls...)
					case "verity":
						r, log = verityRequest(t, content, urls...)
					case "nothing":
						r, log = quick(t, nil, urls...)
					}
					r.Parallel = pace.Parallel{Streams: 4, Measure: 60 * time.Millisecond}
					r.LowSpeed = pace.LowSpeedLimit{Bytes: 64 << 10, Window: 5 * time.Second}
					r.Dial = newFullLink(6<<20, seed).dial
					image := mustGet(t, r, content)
					for _, s := range servers {
						if list := inverted(s); len(list) > 0 {
							t.Errorf("asked for %q", list)
						}
					}
					if strings.Contains(log.String(), "back to those") {
						dismissed.Add(1)
					}
					over := image.Stats.Received - image.Size
					if image.Stats.Restarts > 0 || image.Stats.Retries > 0 || over > image.Size/100 {
						t.Errorf("%d bytes too many, %+v\n%s", over, image.Stats, log)
					}
				})
			}
		}
	}
}
