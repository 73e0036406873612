package debug

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// pager pages through a log on the interactive console, beginning at its end,
// where the news is.
func (m *menu) pager(log func(context.Context, io.Writer) error) func(context.Context) error {
	return func(ctx context.Context) error {
		var b bytes.Buffer
		if err := log(ctx, &b); err != nil {
			return err
		}
		return m.page(ctx, b.String())
	}
}

// page shows text until its reader leaves it, or goes away.
func (m *menu) page(ctx context.Context, text string) error {
	if m.Keys == nil {
		return nil
	}
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		lines = append(lines, foldAt(line, m.Width)...)
	}
	size := max(m.Height-1, 1)
	last := max(len(lines)-size, 0)
	for top := last; ; {
		end := min(top+size, len(lines))
		foot := fmt.Sprintf("lines %d-%d of %d. b: back, space: on, g: start, q: menu", top+1, end, len(lines))
		page := strings.Join(lines[top:end], "\n") + "\n" + cutTo(foot, m.Width-1)
		if _, err := io.WriteString(m.Keys, page); err != nil {
			return err
		}
		key, err := m.pageKey(ctx)
		// The foot goes before the next page comes.
		if _, err := io.WriteString(m.Keys, "\r"+strings.Repeat(" ", m.Width-1)+"\r"); err != nil {
			return err
		}
		switch {
		case errors.Is(err, errTimeout):
			return nil
		case err != nil:
			return err
		}
		switch key {
		case 'b', 'k', 'u', '-', 0x7f, 0x08:
			top = max(top-size, 0)
		case 'g', '<':
			top = 0
		case 'G', '>':
			top = last
		case ' ', '\r', '\n', 'j', 'f':
			if top == last {
				return nil
			}
			top = min(top+size, last)
		default:
			return nil
		}
	}
}

// pageKey waits for a key as long as the idle menu would, without a countdown.
func (m *menu) pageKey(ctx context.Context) (byte, error) {
	if m.Idle <= 0 {
		for {
			key, err := m.keyWithin(ctx, keyWait)
			if err == nil || ctx.Err() != nil {
				return key, err
			}
		}
	}
	key, err := m.keyWithin(ctx, m.Idle)
	if err != nil && ctx.Err() == nil {
		return 0, errTimeout
	}
	return key, err
}

// foldAt breaks a line into pieces of at most width columns.
func foldAt(line string, width int) []string {
	line = ascii(line)
	var out []string
	for len(line) > width {
		out = append(out, line[:width])
		line = line[width:]
	}
	return append(out, line)
}
