package reporting

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"netstage/stage1/fault"
	"netstage/stage1/network"
	"netstage/stage1/stream"
)

// factsWidth is for tables that are looked at once: what a terminal of 80
// columns has left beside the margin of the failure screen.
const factsWidth = 71

// addFacts adds to a failure what else there is to see: the network as it is
// or was, the mirrors with their last answers, the memory.
func (r *Record) addFacts(f *fault.Failure) {
	f.Network = r.Network.Lines
	if links := r.Network.LastSeen(); links.Version != 0 {
		f.Facts = append(f.Facts, fault.Fact{Title: "Network", Lines: links.Lines(factsWidth)})
	}
	f.Facts = append(f.Facts, fault.Fact{Title: "Mirrors", Lines: mirrorLines(r.download)}, streamFact(r.Root), memoryFact(r.Root))
}

// streamFact is how far an image is that is used while it comes.
func streamFact(root string) fault.Fact {
	s, err := stream.ReadStatus(filepath.Join(root, stream.StatusFile))
	if err != nil { // there is none
		return fault.Fact{}
	}
	return fault.Fact{Title: "Stream", Lines: s.Lines()}
}

func memoryFact(root string) fault.Fact {
	m := memory(root)
	if m == nil {
		return fault.Fact{}
	}
	return fault.Fact{Title: "Memory", Lines: []string{fmt.Sprintf("%d of %d MiB available", m.Available>>20, m.Total>>20)}}
}

// LeftFacts is what there is to see of a boot that is gone.
func LeftFacts(root string) []fault.Fact {
	return []fault.Fact{{Title: "Network", Lines: network.Left(root, factsWidth)}, streamFact(root), memoryFact(root)}
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
