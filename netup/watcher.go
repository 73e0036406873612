package netup

import (
	"slices"
	"time"

	"netstage/netup/linktable"
)

// watcher tells Options.Watch the table of links.
type watcher struct {
	*time.Ticker
	n    *Network
	told []linktable.Row
}

// newWatcher is a watcher that ticks where somebody is to be told.
func newWatcher(n *Network) *watcher {
	w := &watcher{Ticker: time.NewTicker(n.opts.Every), n: n}
	if n.opts.Watch == nil {
		w.Stop()
	}
	return w
}

// tell tells the table: always while Up waits, since people watch the seconds,
// and then only what else has changed.
func (w *watcher) tell(waiting bool) {
	if w.n.opts.Watch == nil {
		return
	}
	links := w.n.Links()
	if !waiting && slices.EqualFunc(links, w.told, sameButSeconds) {
		return
	}
	w.told = links
	w.n.opts.Watch(links)
}

// sameButSeconds reports whether two rows differ by time alone.
func sameButSeconds(a, b linktable.Row) bool {
	for _, l := range []*linktable.Row{&a, &b} {
		l.Seconds, l.V4.Seconds, l.V6.Seconds = 0, 0, 0
	}
	return a == b
}
