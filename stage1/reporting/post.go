package reporting

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"time"

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

// A Dialer connects by the network of the boot, or by what the kernel's routes
// and /etc/resolv.conf lead to.
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)

// posterFor is the one for boot.report=, nil without it.
func posterFor(c config.Config, log *slog.Logger, version, root string, dial Dialer) *poster.Poster {
	if c.ReportTo == "" {
		return nil
	}
	told := log.With("what", "report")
	roots, err := image.Authorities(c.CA, filepath.Join(root, config.OwnCA))
	if err != nil {
		told.Warn("not sent", "err", err)
		return nil
	}
	token, err := image.ReportToken(c.ReportTo, root)
	if err != nil {
		told.Warn("it goes without a token", "err", err)
	}
	return &poster.Poster{URL: c.ReportTo, Token: token, Dial: dial, Roots: roots, Agent: "netstage/" + version, Log: log}
}

// poster has the machine's TPM sign for whoever gives a nonce, of a boot that
// failed too: what it booted until then is what one wants to know of a machine
// that does not come up.
func (r *Record) poster() *poster.Poster {
	p := posterFor(r.Config, r.Log, r.Version, r.Root, r.dial())
	if p != nil && r.Machine.Quotes() {
		p.Quote = r.Machine.Quote
	}
	return p
}

// dial is the network's of the boot, where it has one.
func (r *Record) dial() Dialer {
	if r.Network.Network != nil {
		return r.Network.DialContext
	}
	return new(net.Dialer).DialContext
}

// Post sends the report of a boot that is through.
func (r *Record) Post(ctx context.Context) {
	p, log := r.poster(), r.Log.With("what", "report")
	switch {
	case p == nil:
		return
	case r.Network.Network == nil:
		log.Warn("not sent: this boot needed no network")
		return
	}
	limit := postGood
	if r.Config.Check {
		limit = postCheck
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %v", limit))
	defer cancel()
	if err := p.Post(ctx, r.withLog(r.Result())); err != nil {
		log.Warn(err.Error())
	}
}

// Result is the state of a boot that is through.
func (r *Record) Result() report.State {
	if r.Config.Check {
		return report.Check
	}
	return report.Good
}

// waiting is a download that does not come to an end: it tries for ever, and
// nobody would hear of it.
type waiting struct {
	tellAt time.Time
	end    func(fault.Choice) // of a report under way; may be nil
}

func (w *waiting) since(now time.Time) { w.tellAt = now.Add(waitingAfter) }

func (w *waiting) over() {
	if w.end != nil {
		w.end(fault.Retry)
		w.end = nil
	}
}

// tellOfWaiting reports it, once in a while. The download's goroutine calls it.
func (r *Record) tellOfWaiting(now time.Time) {
	if r.Config.ReportTo == "" || now.Before(r.waiting.tellAt) {
		return
	}
	r.waiting.over()
	r.waiting.tellAt = now.Add(waitingEvery)
	r.waiting.end = r.poster().Failure(r.withLog(report.Running))
}
