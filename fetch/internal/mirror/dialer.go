package mirror

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// dialer is the caller's way to dial, with a timeout. A dial may outlive the
// request it was for, so it is owned here.
type dialer struct {
	config  Config
	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
	life    context.Context
	end     context.CancelFunc
}

func newDialer(c Config) *dialer {
	d := &dialer{config: c}
	d.life, d.end = context.WithCancel(context.Background())
	return d
}

// close ends every dial under way and waits for it.
func (d *dialer) close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.end()
	d.running.Wait()
}

func (d *dialer) begin() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.running.Add(1)
	}
	return !d.closed
}

func (d *dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if !d.begin() {
		return nil, context.Canceled
	}
	defer d.running.Done()
	limit, ok := ctx.Value(dialLimit{}).(time.Duration)
	if !ok {
		limit = d.config.Timeouts.Dial
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	defer context.AfterFunc(d.life, cancel)()
	d.config.Log.Debug("dial " + addr)
	c, err := d.config.Dial(ctx, network, addr)
	var dns *net.DNSError
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) && !errors.As(err, &dns) {
		// The caller's dialer may report its own way; the class is the same.
		return nil, &net.OpError{Op: "dial", Net: network, Err: context.DeadlineExceeded}
	}
	return c, err
}
