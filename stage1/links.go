package stage1

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"netstage/netup"
	"netstage/netup/linktable"
	"netstage/stage1/step"
)

// linksFile has the table of links for the shell and for whoever looks at the
// machine: a LinkTable, as it was when the file was last written. It is written
// every second while the network is waited for, and when a link has changed
// later.
const linksFile = "/run/netstage/links.json"

// LinkTable is what the machine's network cards are seen to do.
type LinkTable struct {
	Version  int             `json:"version"` // of this format: 1
	AtMS     int64           `json:"at_ms"`   // when it was written, since the kernel's start
	Links    []linktable.Row `json:"links"`
	Undriven []string        `json:"undriven,omitempty"` // a line for each card without a driver
}

// Table renders the links for people, in lines of at most width columns.
func (t LinkTable) Table(width int) []string {
	lines := linktable.Table(t.Links, width)
	for _, u := range t.Undriven {
		lines = append(lines, linktable.Fold(u, "", width)...)
	}
	if len(lines) == 0 {
		return []string{"no network card"}
	}
	return lines
}

// Links is the table of links as it is now; it is empty before the network was
// wanted. It is for whoever runs while no step does.
func (b *Boot) Links() LinkTable {
	if b.network.Network == nil && b.network.last.Version != 0 {
		age := step.SinceBoot() - time.Duration(b.network.last.AtMS)*time.Millisecond
		links, err := linktable.Refresh(b.network.last.Links, age)
		if err != nil {
			b.Log.Warn(fmt.Sprintf("network: %v", err))
			return b.network.last
		}
		b.network.last = b.linkTable(links)
	}
	return b.lastSeen()
}

// lastSeen is the table as it is or, when the network is gone, as it was then.
func (b *Boot) lastSeen() LinkTable {
	if b.network.Network != nil {
		return b.linkTable(b.network.Links())
	}
	return b.network.last
}

// keepLinks keeps the table of a network that failed or is about to be gone.
func (b *Boot) keepLinks(err error) {
	var failed *netup.Error
	if !errors.As(err, &failed) {
		b.network.last = b.lastSeen()
		return
	}
	b.network.last = b.linkTable(failed.Links())
	if err := replaceJSON(linksFile, b.network.last); err != nil {
		b.Log.Warn(fmt.Sprintf("network: the links can't be told: %v", err))
	}
}

func (b *Boot) linkTable(links []linktable.Row) LinkTable {
	return LinkTable{Version: 1, AtMS: step.SinceBoot().Milliseconds(), Links: links, Undriven: b.devices.Undriven()}
}

// watchLinks shows on the console, and in linksFile, what Up tells of the links.
func (b *Boot) watchLinks(links []linktable.Row) {
	b.heart.Sign()
	t := b.linkTable(links)
	if !slices.ContainsFunc(links, func(l linktable.Row) bool { return l.Winner }) {
		b.Status("network: " + t.summary())
	}
	// Up's end tells what is wrong with the file.
	_ = replaceJSON(linksFile, t)
}

func (t LinkTable) summary() string {
	return strings.Join(append([]string{linktable.Summary(t.Links)}, t.Undriven...), " | ")
}

// replaceJSON replaces the file at path, whole or not at all.
func replaceJSON(path string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return replaceFile(path, append(text, '\n'))
}
