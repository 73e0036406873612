package debug

import (
	"fmt"
	"slices"
	"strings"

	"netstage/debug/kmsg"
	"netstage/stage1/fault"
)

// Screen renders f in at most height lines of at most width columns,
// plain ASCII, each ended by a newline, with the given lines at its foot.
// Everything there is gets a line before anything gets a second one; what is
// too much is cut where it costs least: old log lines and attempts first.
func Screen(f fault.Failure, width, height int, foot ...string) string {
	width, height = max(width, 20), max(height, 6)
	var end []string
	for _, s := range foot {
		end = append(end, wrap(s, "", "  ", width)...)
	}
	end = atMost(end, height-3)

	head := "=== boot failed: " + string(f.Class) + " "
	lines := []string{head + strings.Repeat("=", max(0, width-len(head)))}
	lines = append(lines, atMost(wrap(oneLine(f.Cause), "", "", width), min(6, height-2-len(end)))...)
	if f.Step != "" {
		lines = append(lines, where(f))
	}
	room := height - len(lines) - len(end)

	parts := []*part{{title: "Tried", lines: f.Tried, newest: true, unit: "earlier"}}
	for _, t := range f.Facts {
		parts = append(parts, &part{title: t.Title, lines: t.Lines, unit: "more"})
	}
	parts = append(parts,
		&part{title: "Agent", lines: f.Agent, newest: true},
		&part{title: "Kernel", lines: f.Kernel, newest: true})
	parts = slices.DeleteFunc(parts, func(p *part) bool { return len(p.lines) == 0 })

	var todo []string
	for _, s := range advice(f) {
		todo = append(todo, wrap(s, "  - ", "    ", width)...)
	}
	if most := max(4, room-len(parts)) - 1; room > 1 {
		todo = append([]string{"What to do:"}, atMost(todo, min(most, room-1))...)
	} else {
		todo = nil
	}
	share(parts, room-len(todo))
	for _, p := range parts {
		lines = append(lines, p.render(width)...)
	}
	var b strings.Builder
	for _, line := range slices.Concat(lines, todo, end) {
		b.WriteString(cutTo(line, width) + "\n")
	}
	return b.String()
}

// part is lines with a title in the margin.
type part struct {
	title  string
	lines  []string
	newest bool   // of too many the last are shown, else the first
	unit   string // says of those that are not shown what they are; "": they are not worth a word
	shown  int    // how many there is room for
}

// share deals out room, a line at a time.
func share(parts []*part, room int) {
	for more := true; more; {
		more = false
		for _, p := range parts {
			if room > 0 && p.shown < len(p.lines) {
				p.shown++
				room--
				more = true
			}
		}
	}
}

// margin is the width of a title and what separates it from its lines.
const margin = 9

func (p *part) render(width int) []string {
	from := 0
	if p.newest {
		from = len(p.lines) - p.shown
	}
	var out []string
	title, note := p.title+":", ""
	if left := len(p.lines) - p.shown; left > 0 && p.unit != "" {
		note = fmt.Sprintf(" (+%d %s)", left, p.unit)
	}
	for _, line := range p.lines[from : from+p.shown] {
		line = fmt.Sprintf("%-*s%s", margin, title, strings.TrimRight(kmsg.Clean(line), " "))
		out = append(out, cutTo(line, width-len(note))+note)
		title, note = "", ""
	}
	return out
}

func atMost(lines []string, n int) []string { return lines[:min(len(lines), max(n, 0))] }

func cutTo(s string, width int) string {
	s = ascii(s)
	if len(s) <= width {
		return s
	}
	return s[:max(width-3, 0)] + "..."
}

// ascii replaces what a dumb terminal can't show.
func ascii(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '—' || r == '–':
			return '-'
		case r == '’' || r == '‘':
			return '\''
		case r == '…':
			return '.'
		case r == '“' || r == '”':
			return '"'
		case r < ' ':
			return -1
		case r > '~':
			return '?'
		}
		return r
	}, s)
}

// wrap breaks s at blanks into lines of at most width columns; a word that is
// longer than a line, such as a URL, is broken where it must be.
func wrap(s, first, next string, width int) []string {
	var lines []string
	line, empty := first, true
	for _, word := range strings.Fields(ascii(s)) {
		if !empty && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line, empty = next, true
		}
		if !empty {
			line += " "
		}
		for len(line)+len(word) > width {
			n := width - len(line)
			lines = append(lines, line+word[:n])
			line, word = next, word[n:]
		}
		line, empty = line+word, false
	}
	if !empty {
		lines = append(lines, line)
	}
	return lines
}

// The colours of a screen, as every terminal with colours understands them
// (ECMA-48, SGR).
const (
	red    = "\x1b[1;31m"
	bold   = "\x1b[1m"
	yellow = "\x1b[1;33m"
	plain  = "\x1b[0m"
)

// Painted is a screen in colours: what failed in red, what to do in yellow,
// the titles and keys in bold.
func Painted(screen string) string {
	var b strings.Builder
	advice := false
	for line := range strings.Lines(screen) {
		line = strings.TrimSuffix(line, "\n")
		title, rest, titled := strings.Cut(line, ":")
		titled = titled && title != "" && len(title) < 24 && title[0] >= 'A' && title[0] <= 'Z'
		switch {
		case strings.HasPrefix(line, "==="):
			line = red + line + plain
		case titled:
			advice = line == "What to do:"
			line = bold + title + ":" + plain + rest
		case advice && strings.HasPrefix(line, "  "):
			line = yellow + line + plain
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}
