package stream

import (
	"bufio"
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// hotHead begins a hot list: the ranges of an image in the order in which boots
// first read them, each a line of offset and length. It is advice: what it says
// decides what comes first and nothing else.
const hotHead = "netstage-hot 1"

// mostHot bounds a list.
const mostHot = 64 << 10

// ParseHot reads a hot list. Ranges beyond size are left out.
func ParseHot(text []byte, size int64) ([]Span, error) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	if !lines.Scan() || strings.TrimSpace(lines.Text()) != hotHead {
		return nil, fmt.Errorf("no hot list: it does not begin with %q", hotHead)
	}
	var spans []Span
	for n := 2; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) != 2 {
			return nil, fmt.Errorf("hot list: line %d: want an offset and a length", n)
		}
		off, err := strconv.ParseInt(fields[0], 10, 64)
		length, lerr := strconv.ParseInt(fields[1], 10, 64)
		if err != nil || lerr != nil || off < 0 || length <= 0 {
			return nil, fmt.Errorf("hot list: line %d: want an offset and a length", n)
		}
		if len(spans) == mostHot {
			return nil, fmt.Errorf("hot list: more than %d ranges", mostHot)
		}
		if off < size {
			spans = append(spans, Span{off, min(length, size-off)})
		}
	}
	return spans, lines.Err()
}

// FormatHot is the text of a hot list.
func FormatHot(spans []Span) []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, hotHead)
	for _, s := range spans {
		fmt.Fprintln(&b, s.Off, s.Len)
	}
	return b.Bytes()
}

// MergeHot makes one list of several boots': in the order of the first, with
// what others read besides after it.
func MergeHot(lists ...[]Span) []Span {
	const grain = 64 << 10
	seen := map[int64]bool{}
	var out []Span
	for _, list := range lists {
		for _, s := range list {
			for at := s.Off / grain * grain; at < s.end(); at += grain {
				if seen[at] {
					continue
				}
				seen[at] = true
				if n := len(out); n > 0 && out[n-1].end() == at {
					out[n-1].Len += grain
					continue
				}
				out = append(out, Span{at, grain})
			}
		}
	}
	return out
}
