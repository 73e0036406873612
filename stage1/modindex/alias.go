package modindex

import (
	"slices"
	"strings"
)

// aliasTable finds the lines of a modules.alias file whose pattern matches.
// A full distribution kernel has 26,000 of them and a machine some hundred
// devices, so every line hangs in a bucket chosen by the letters before its
// first wildcard, and a query looks only into the buckets of its own prefixes.
// The file's text is kept as it is: nothing is allocated per line.
type aliasTable struct {
	text  string
	heads []int32 // bucket -> entry+1
	lines []aliasLine
	buses [maxBus + 1]bool // how long the "acpi" of an acpi*:… may be
}

type aliasLine struct {
	off  uint32 // of the pattern in text
	hash uint32
	next int32 // entry+1
}

// keyLengths are the prefix lengths that buckets are made of, ascending. They
// are chosen so that pci:v00008086d00001533, usb:v0BDAp8152 and
// virtio:d00000001 make whole keys.
var keyLengths = [...]int{0, 4, 8, 14, 16, 22, 30, 38}

// idLengths are the same for what follows "*:" in acpi*:PNP0C0A:* and dmi*:….
var idLengths = [...]int{0, 3, 8}

// maxBus bounds the X of patterns X*:… that get a bucket by what follows.
const maxBus = 15

const (
	hashStart = 2166136261
	hashPrime = 16777619
)

func hashOn(h uint32, s string) uint32 {
	for i := 0; i < len(s); i++ {
		h = (h ^ uint32(fold(s[i]))) * hashPrime
	}
	return h
}

// newAliasTable indexes the lines "alias PATTERN MODULE" of text. Anything
// else (comments, lines cut short) is passed over, as kmod does.
func newAliasTable(text string) *aliasTable {
	t := &aliasTable{text: text, lines: make([]aliasLine, 0, len(text)/48)}
	for off := 0; off < len(text); {
		end := strings.IndexByte(text[off:], '\n')
		if end < 0 {
			end = len(text) - off
		}
		line := text[off : off+end]
		const word = "alias "
		if strings.HasPrefix(line, word) {
			pattern, module := cutAlias(line[len(word):])
			if pattern != "" && module != "" {
				key, bus := patternKey(pattern)
				if bus >= 0 {
					t.buses[bus] = true
				}
				t.lines = append(t.lines, aliasLine{off: uint32(off + len(word)), hash: key})
			}
		}
		off += end + 1
	}
	size := 64
	for size < len(t.lines) {
		size *= 2
	}
	t.heads = make([]int32, size)
	for i := len(t.lines) - 1; i >= 0; i-- {
		head := &t.heads[t.lines[i].hash&uint32(size-1)]
		t.lines[i].next = *head
		*head = int32(i + 1)
	}
	return t
}

// cutAlias splits "PATTERN MODULE". Some aliases (dmi, of) hold blanks in
// their pattern; a module's name never does.
func cutAlias(line string) (pattern, module string) {
	line = strings.TrimRight(line, " \t\r")
	i := strings.LastIndexByte(line, ' ')
	if i < 0 {
		return "", ""
	}
	return line[:i], line[i+1:]
}

func literal(pattern string) int {
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case '*', '?', '[', '\\':
			return i
		}
	}
	return len(pattern)
}

// patternKey picks the bucket of a pattern. bus is the length of X in a pattern
// X*:…, -1 for all others.
func patternKey(pattern string) (key uint32, bus int) {
	n := literal(pattern)
	if head, rest := pattern[:n], pattern[n:]; n <= maxBus && strings.HasPrefix(rest, "*:") && !strings.Contains(head, ":") {
		id := rest[2:]
		return hashOn(hashOn(hashStart, pattern[:n+2]), id[:step(idLengths[:], literal(id))]), n
	}
	return hashOn(hashStart, pattern[:step(keyLengths[:], n)]), -1
}

// step is the greatest of the ascending lengths that is not above n.
func step(lengths []int, n int) int {
	best := 0
	for _, l := range lengths {
		if l <= n {
			best = l
		}
	}
	return best
}

// lookup returns the modules whose patterns match the query, in the order of
// the file, each once.
func (t *aliasTable) lookup(query string) []string {
	var hits []int32
	h, done := uint32(hashStart), 0
	for _, n := range keyLengths {
		if n > len(query) {
			break
		}
		h = hashOn(h, query[done:n])
		done = n
		hits = t.collect(hits, h, query)
	}
	for n, used := range t.buses {
		if bus := strings.IndexByte(query, ':'); !used || n > bus {
			continue
		}
		hits = t.collectByID(hits, hashOn(hashOn(hashStart, query[:n]), "*:"), query)
	}
	if len(hits) == 0 {
		return nil
	}
	slices.Sort(hits)
	var names []string
	for _, hit := range slices.Compact(hits) {
		_, module := t.line(hit)
		if name := Name(module); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// collectByID looks into the buckets of X*:ID… for each id of the query.
func (t *aliasTable) collectByID(hits []int32, busKey uint32, query string) []int32 {
	for i := range len(query) {
		if query[i] != ':' {
			continue
		}
		id := query[i+1:]
		for _, n := range idLengths {
			if n <= len(id) {
				hits = t.collect(hits, hashOn(busKey, id[:n]), query)
			}
		}
	}
	return hits
}

func (t *aliasTable) collect(hits []int32, hash uint32, query string) []int32 {
	for i := t.heads[hash&uint32(len(t.heads)-1)]; i != 0; i = t.lines[i-1].next {
		if t.lines[i-1].hash != hash {
			continue
		}
		if pattern, _ := t.line(i - 1); Match(pattern, query) {
			hits = append(hits, i-1)
		}
	}
	return hits
}

func (t *aliasTable) line(i int32) (pattern, module string) {
	rest := t.text[t.lines[i].off:]
	if end := strings.IndexByte(rest, '\n'); end >= 0 {
		rest = rest[:end]
	}
	return cutAlias(rest)
}
