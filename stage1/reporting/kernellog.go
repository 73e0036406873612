package reporting

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"time"

	"netstage/stage1/config"
	"netstage/stage1/report"
	"netstage/stage1/step"
)

// A LogTarget is where boot.log= wants the kernel log.
type LogTarget struct {
	Dial     func(context.Context) (net.Conn, error)
	Hostname string
	Blank    func(string) string // takes secrets out of a line
	Since    time.Duration       // what was logged before was sent before
	Warn     func(error)
}

// A Forwarder sends the kernel log until its context ends, and what is left
// in it then.
type Forwarder func(context.Context, LogTarget) error

// targetOf is what boot.log= asks for.
func targetOf(c config.Config, log *slog.Logger, m report.Machine, dial Dialer) LogTarget {
	_, blank := report.Parameters(c.Modules)
	t := LogTarget{
		Dial:     func(ctx context.Context) (net.Conn, error) { return dial(ctx, "udp", c.LogTo) },
		Hostname: m.Hostname, Blank: blank,
		Warn: func(err error) { log.Warn("boot.log: "+c.LogTo+" is not reached", "err", err) },
	}
	if t.Hostname == "" && len(m.MACs) > 0 {
		t.Hostname = strings.ReplaceAll(m.MACs[0], ":", "-")
	}
	return t
}

// send starts to send the log, if it is wanted. What it returns stops it, and
// waits for what is left to be sent.
func (f Forwarder) send(c config.Config, t LogTarget) (stop func()) {
	if c.LogTo == "" || f == nil {
		return func() {}
	}
	sending := step.InBackground(func(ctx context.Context) error {
		if err := f(ctx, t); err != nil {
			t.Warn(err)
		}
		return nil
	})
	return func() { sending.Stop() }
}

// LogTarget is where the log goes by the network that is up.
func (r *Record) LogTarget() LogTarget {
	m := r.machine()
	if won := r.Network.Won(); m.Hostname == "" && won != nil {
		m.MACs = []string{won.MAC.String()}
	}
	return targetOf(r.Config, r.Log, m, r.dial())
}

// A KernelLog is sent while the network is up, from where it was sent last.
type KernelLog struct {
	Forward Forwarder // may be nil

	stop func()        // nil: it is not sent
	sent time.Duration // since boot
}

// Start begins to send it, where boot.log= wants that.
func (l *KernelLog) Start(c config.Config, t LogTarget) {
	t.Since = l.sent
	l.stop = l.Forward.send(c, t)
}

// Stop sends what is left.
func (l *KernelLog) Stop() {
	if l.stop != nil {
		l.stop()
		l.stop, l.sent = nil, step.SinceBoot()
	}
}
