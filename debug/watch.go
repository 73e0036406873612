package debug

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// How often the network is looked at: what changes on the way of a packet is
// seen at once, and a terminal that can only scroll is still read.
const (
	watchEvery  = time.Second
	scrollEvery = 5 * time.Second
)

// watchNetwork shows the table of links on the interactive console as it
// changes, until a key is pressed, or nobody does for as long as the idle menu
// would wait.
func (m *menu) watchNetwork(ctx context.Context) error {
	if m.Keys == nil {
		return nil
	}
	every := scrollEvery
	c, ok := m.Keys.(interface{ Color() bool })
	inPlace := ok && c.Color()
	if inPlace {
		every = watchEvery
	}
	var shown []string
	for began := time.Now(); m.Idle <= 0 || time.Since(began) < m.Idle; {
		table := m.Failure.Network(m.Width)
		if len(table) == 0 {
			table = []string{"there is no network card"}
		}
		table = atMost(table, m.Height-2)
		if !slices.Equal(table, shown) {
			var b strings.Builder
			if inPlace && shown != nil {
				fmt.Fprintf(&b, "\x1b[%dA\x1b[J", len(shown))
			} else if shown == nil {
				b.WriteString("The network as it changes; any key: menu\n")
			} else {
				b.WriteByte('\n')
			}
			for _, line := range table {
				b.WriteString(cutTo(line, m.Width) + "\n")
			}
			if _, err := io.WriteString(m.Keys, b.String()); err != nil {
				return err
			}
			shown = table
		}
		if _, err := m.keyWithin(ctx, every); err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}
