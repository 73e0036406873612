package stage1

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"netstage/netup/linktable"
	"netstage/stage1/fault"
	"netstage/stage1/step"
)

// factsWidth is for tables that are looked at once: what a terminal of 80
// columns has left beside the margin of the failure screen.
const factsWidth = 71

// addFacts adds to a failure what else there is to see: the network as it is
// or was, the mirrors with their last answers, the memory.
func (b *Boot) addFacts(f *fault.Failure) {
	f.Network = b.networkNow
	if links := b.lastSeen(); links.Version != 0 {
		f.Facts = append(f.Facts, fault.Fact{Title: "Network", Lines: links.Table(factsWidth)})
	}
	f.Facts = append(f.Facts, fault.Fact{Title: "Mirrors", Lines: mirrorLines(b.record.download)}, memoryFact())
}

func memoryFact() fault.Fact {
	m := memory()
	if m == nil {
		return fault.Fact{}
	}
	return fault.Fact{Title: "Memory", Lines: []string{fmt.Sprintf("%d of %d MiB available", m.Available>>20, m.Total>>20)}}
}

// LeftFacts is what there is to see of a boot that is gone.
func LeftFacts() []fault.Fact {
	return []fault.Fact{{Title: "Network", Lines: LeftLinks(factsWidth)}, memoryFact()}
}

// networkNow is the table of links as it is now.
func (b *Boot) networkNow(width int) []string {
	if t := b.Links(); t.Version != 0 {
		return t.Table(width)
	}
	return LeftLinks(width)
}

// LeftLinks is the table that a boot which is gone has left in its file, as
// far as the kernel knows now, or else what the kernel alone knows.
func LeftLinks(width int) []string {
	var t LinkTable
	text, err := os.ReadFile(linksFile)
	if err == nil {
		err = json.Unmarshal(text, &t)
	}
	if err != nil {
		t = LinkTable{}
	}
	if links, err := linktable.Refresh(t.Links, step.SinceBoot()-time.Duration(t.AtMS)*time.Millisecond); err == nil {
		t.Links = links
	}
	return t.Table(width)
}

// mirrorLines says how each mirror fared, a line each.
func mirrorLines(d Download) []string {
	var lines []string
	for _, m := range d.Mirrors {
		name := m.URL
		if u, err := url.Parse(m.URL); err == nil && u.Host != "" {
			name = u.Host
		}
		answer := strings.TrimPrefix(strings.TrimSuffix(m.Answer, " for "+m.URL), name)
		answer = strings.TrimLeft(answer, ": ")
		if answer == "" {
			answer = "not asked"
		}
		line := name + ": " + answer
		if m.Bytes > 0 {
			line += fmt.Sprintf(", %d MiB", m.Bytes>>20)
		}
		if m.Faults > 1 {
			line += fmt.Sprintf(", %d faults", m.Faults)
		}
		lines = append(lines, line)
	}
	return lines
}
