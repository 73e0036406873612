package network

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"netstage/netup"
	"netstage/netup/linktable"
	"netstage/stage1/rundir"
	"netstage/stage1/step"
)

// linksFile has the Table for the shell and for whoever looks at the machine,
// as it was when the file was last written: every second while the network is
// waited for, and when a link has changed later.
const linksFile = "/run/netstage/links.json"

// A Table is what the machine's network cards are seen to do.
type Table struct {
	Version  int             `json:"version"` // of this format: 1
	AtMS     int64           `json:"at_ms"`   // when it was written, since the kernel's start
	Links    []linktable.Row `json:"links"`
	Undriven []string        `json:"undriven,omitempty"` // a line for each card without a driver
}

// Lines renders the links for people, in lines of at most width columns.
func (t Table) Lines(width int) []string {
	lines := linktable.Table(t.Links, width)
	for _, u := range t.Undriven {
		lines = append(lines, linktable.Fold(u, "", width)...)
	}
	if len(lines) == 0 {
		return []string{"no network card"}
	}
	return lines
}

func (t Table) summary() string {
	return strings.Join(append([]string{linktable.Summary(t.Links)}, t.Undriven...), " | ")
}

// age is how long ago the table was made.
func (t Table) age() time.Duration {
	return step.SinceBoot() - time.Duration(t.AtMS)*time.Millisecond
}

// Trouble is why nothing may come over the network that was brought up; "" is
// nothing.
func (c *Connection) Trouble() string {
	if c.Network == nil {
		return ""
	}
	return linktable.Trouble(c.Network.Links())
}

// Links is the table as it is now; it is empty before the network was wanted.
// It is for whoever runs while no step does.
func (c *Connection) Links() Table {
	if c.Network == nil && c.last.Version != 0 {
		links, err := linktable.Refresh(c.last.Links, c.last.age())
		if err != nil {
			c.log().Warn(err.Error())
			return c.last
		}
		c.last = c.tableOf(links)
	}
	return c.LastSeen()
}

// LastSeen is the table as it is or, when the network is gone, as it was then.
func (c *Connection) LastSeen() Table {
	if c.Network != nil {
		return c.tableOf(c.Network.Links())
	}
	return c.last
}

// Lines are those of Links, or of what an earlier boot has left.
func (c *Connection) Lines(width int) []string {
	if t := c.Links(); t.Version != 0 {
		return t.Lines(width)
	}
	return Left(c.Root, width)
}

// Left are the lines of the table that a boot which is gone has left in its
// file below root, as far as the kernel knows now, or else what the kernel
// alone knows.
func Left(root string, width int) []string {
	var t Table
	text, err := os.ReadFile(filepath.Join(root, linksFile))
	if err == nil {
		err = json.Unmarshal(text, &t)
	}
	if err != nil {
		t = Table{}
	}
	if links, err := linktable.Refresh(t.Links, t.age()); err == nil {
		t.Links = links
	}
	return t.Lines(width)
}

// keepLinks keeps the table of a network that failed or is about to be gone.
func (c *Connection) keepLinks(err error) {
	var failed *netup.Error
	if !errors.As(err, &failed) {
		c.last = c.LastSeen()
		return
	}
	c.last = c.tableOf(failed.Links())
	if err := c.write(c.last); err != nil {
		c.log().Warn("the links can't be told", "err", err)
	}
}

func (c *Connection) write(t Table) error {
	return rundir.ReplaceJSON(filepath.Join(c.Root, linksFile), t)
}

func (c *Connection) tableOf(links []linktable.Row) Table {
	return Table{Version: 1, AtMS: step.SinceBoot().Milliseconds(), Links: links, Undriven: c.Cards.Undriven()}
}

// watch shows on the console, and in linksFile, what Up tells of the links.
func (c *Connection) watch(o Order) func([]linktable.Row) {
	return func(links []linktable.Row) {
		o.Alive()
		t := c.tableOf(links)
		if !slices.ContainsFunc(links, func(l linktable.Row) bool { return l.Winner }) {
			o.Status("network: " + t.summary())
		}
		// Up's end tells what is wrong with the file.
		_ = c.write(t)
	}
}
