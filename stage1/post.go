package stage1

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"netstage/netup"
	"netstage/stage1/config"
	"netstage/stage1/fault"
	"netstage/stage1/image"
	"netstage/stage1/poster"
	"netstage/stage1/report"
)

// How long a report may keep the boot from going on.
const (
	postGood     = time.Second      // before stage 2
	postCheck    = 10 * time.Second // boot.check is about the report
	waitingAfter = 2 * time.Minute  // of a download, which goes on for ever
	waitingEvery = 10 * time.Minute // later
)

// posterFor is the one for boot.report=, nil without it. dial is the network's of
// the boot; nil stands for what the kernel's routes and /etc/resolv.conf lead
// to.
func posterFor(c config.Config, log *slog.Logger, version string, network *netup.Network) *poster.Poster {
	if c.ReportTo == "" {
		return nil
	}
	roots, err := image.Authorities(c.CA, config.OwnCA)
	if err != nil {
		log.Warn(fmt.Sprintf("report: not sent: %v", err))
		return nil
	}
	p := &poster.Poster{URL: c.ReportTo, Dial: new(net.Dialer).DialContext, Roots: roots, Agent: "netstage/" + version, Log: log}
	if network != nil {
		p.Dial = network.DialContext
	}
	return p
}

// postResult sends the report of a boot that is through.
func (b *Boot) postResult(ctx context.Context) {
	p := posterFor(b.config, b.Log, b.Version, b.network.Network)
	switch {
	case p == nil:
		return
	case b.network.Network == nil:
		b.Log.Warn("report: not sent: this boot needed no network")
		return
	}
	limit := postGood
	if b.config.Check {
		limit = postCheck
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %v", limit))
	defer cancel()
	if err := p.Post(ctx, b.withLog(b.result())); err != nil {
		b.Log.Warn(err.Error())
	}
}

// tellOfWaiting reports a boot whose download does not come to an end: it tries
// for ever, and nobody would hear of it. The download's goroutine calls it.
func (b *Boot) tellOfWaiting(now time.Time) {
	if b.config.ReportTo == "" || now.Before(b.record.tellAt) {
		return
	}
	b.endWaiting()
	b.record.tellAt = now.Add(waitingEvery)
	b.record.waiting = posterFor(b.config, b.Log, b.Version, b.network.Network).Failure(b.withLog(report.Running))
}

func (b *Boot) endWaiting() {
	if b.record.waiting != nil {
		b.record.waiting(fault.Retry)
		b.record.waiting = nil
	}
}
