package modindex

import "strings"

// depTable is modules.dep: every module's file and the files it needs. The
// text stays as read; a line is taken apart when somebody asks for it.
type depTable struct {
	text  string
	lines map[string]span // normalised name -> its line
	names []string        // in the order of the file
}

type span struct{ from, to int }

// newDepTable indexes lines of the form "PATH: DEP DEP…".
func newDepTable(text string) *depTable {
	t := &depTable{text: text, lines: make(map[string]span, len(text)/128)}
	for off := 0; off < len(text); {
		end := strings.IndexByte(text[off:], '\n')
		if end < 0 {
			end = len(text) - off
		}
		line := text[off : off+end]
		if colon := strings.IndexByte(line, ':'); colon > 0 && line[0] != '#' {
			name := Name(line[:colon])
			if _, twice := t.lines[name]; !twice && name != "" && Name(name) == name && !strings.ContainsAny(name, " \t\r\v\f") {
				t.lines[name] = span{off, off + end}
				t.names = append(t.names, name)
			}
		}
		off += end + 1
	}
	return t
}

// get returns a module's path and those of its dependencies, as depmod orders
// them: what must be loaded first comes last.
func (t *depTable) get(name string) (path string, deps []string, ok bool) {
	at, ok := t.lines[name]
	if !ok {
		return "", nil, false
	}
	path, rest, _ := strings.Cut(t.text[at.from:at.to], ":")
	return path, strings.Fields(rest), true
}
