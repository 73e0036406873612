package stage1

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"netstage/netup"
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

// target is what boot.log= asks for, on the network of the boot; nil stands
// for what the kernel and /etc/resolv.conf know.
func logTarget(c config.Config, log *slog.Logger, m report.Machine, network *netup.Network) LogTarget {
	dial := new(net.Dialer).DialContext
	if network != nil {
		dial = network.DialContext
	}
	_, blank := report.Parameters(c.Modules)
	t := LogTarget{
		Dial:     func(ctx context.Context) (net.Conn, error) { return dial(ctx, "udp", c.LogTo) },
		Hostname: m.Hostname, Blank: blank,
		Warn: func(err error) { log.Warn(fmt.Sprintf("boot.log: %s is not reached: %v", c.LogTo, err)) },
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

// startLog sends the log by the network that is up.
func (b *Boot) startLog() {
	m := b.machine()
	if m.Hostname == "" {
		m.MACs = []string{b.network.lease.MAC}
	}
	target := logTarget(b.config, b.Log, m, b.network.Network)
	target.Since = b.services.logSent
	b.services.stopLog = b.Forward.send(b.config, target)
}

// endLog sends what is left of the log.
func (b *Boot) endLog() {
	if b.services.stopLog != nil {
		b.services.stopLog()
		b.services.stopLog, b.services.logSent = nil, step.SinceBoot()
	}
}
