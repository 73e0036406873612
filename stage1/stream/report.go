package stream

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"time"

	"netstage/fetch/stream"
	"netstage/netup"
	"netstage/stage1/poster"
	"netstage/stage1/report"
)

// bootFile is the boot's report.
const bootFile = "/run/netstage/boot.json"

// How long the end of a stream waits for the boot to leave its report, and for
// a server to take it.
const (
	reportWait = 5 * time.Second
	reportPost = 20 * time.Second
)

// HotFile is what has been read, in the order in which it was first read.
const HotFile = "/run/netstage/image.hot"

// writeHot writes what has been read, where there is more of it than before.
func (w *worker) writeHot() {
	if touched := w.shared.get(wordTouched); touched != w.hotWritten {
		w.hotWritten = touched
		replace(HotFile, stream.FormatHot(w.shared.hot()))
	}
}

// report tells once more of a boot that has gone on with stage 2, now that its
// image is whole.
func (w *worker) report(ctx context.Context, s Status) {
	r, err := leftReport()
	if err != nil {
		w.log.Warn("the boot's report", "err", err)
		return
	}
	r.State, r.Written = report.Complete, time.Now().UTC().Format(time.RFC3339)
	r.Stream = &report.Stream{
		Received: s.Received, TookMS: int64(s.Seconds * 1000), Reads: int64(s.Reads), Waited: int64(s.Waited),
		LongestMS: s.LongestMS, Restarts: int64(s.Restarts), FirstReads: []report.Range{},
	}
	for _, span := range w.shared.hot() {
		if len(r.Stream.FirstReads) < report.MostFirstReads {
			r.Stream.FirstReads = append(r.Stream.FirstReads, report.Range{Offset: span.Off, Length: span.Len})
		}
	}
	var text bytes.Buffer
	if err := r.Encode(&text); err != nil {
		w.log.Warn("the boot's report", "err", err)
		return
	}
	replaceWith(bootFile, text.Bytes(), 0o600) // as the boot left it
	if w.spec.ReportTo == "" {
		return
	}
	p := poster.Poster{URL: w.spec.ReportTo, Token: w.spec.ReportToken, Dial: netup.DialBy(w.leaseNow), Agent: w.spec.UserAgent, Log: w.plain}
	if len(w.spec.CA) > 0 {
		p.Roots = x509.NewCertPool()
		p.Roots.AppendCertsFromPEM(w.spec.CA)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, reportPost, fmt.Errorf("no answer within %v", reportPost))
	defer cancel()
	if err := p.Post(ctx, r); err != nil {
		w.plain.With("what", "report").Warn(err.Error(), "err", err)
	}
}

// leftReport is the report that the boot leaves for stage 2. A small image may
// be whole before that.
func leftReport() (r report.Report, err error) {
	for end := time.Now().Add(reportWait); ; time.Sleep(100 * time.Millisecond) {
		var text []byte
		if text, err = os.ReadFile(bootFile); err == nil {
			r, err = report.Parse(text)
		}
		if err == nil && (r.State == report.Good || r.State == report.Complete) || time.Now().After(end) {
			return r, err
		}
	}
}
