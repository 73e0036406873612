package modindex

import "strings"

// Softdep is a wish of a module: Pre to be loaded before it, Post after it,
// both names or aliases, and neither missed when absent.
type Softdep struct {
	Module    string // a name, or a pattern over names
	Pre, Post []string
}

// ParseSoftdep reads "MODULE pre: A B post: C", the value of a softdep line
// and (after the module's name) of .modinfo. Words before the first "pre:" or
// "post:" mean nothing, as in kmod.
func ParseSoftdep(s string) (Softdep, bool) {
	words := strings.Fields(s)
	if len(words) < 2 {
		return Softdep{}, false
	}
	d := Softdep{Module: strings.ReplaceAll(words[0], "-", "_")}
	var into *[]string
	for _, w := range words[1:] {
		switch {
		case w == "pre:":
			into = &d.Pre
		case w == "post:":
			into = &d.Post
		case into != nil:
			*into = append(*into, w)
		}
	}
	return d, len(d.Pre)+len(d.Post) > 0
}

func parseSoftdeps(text string) []Softdep {
	var all []Softdep
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, "softdep ")
		if !ok {
			continue
		}
		if d, ok := ParseSoftdep(rest); ok {
			all = append(all, d)
		}
	}
	return all
}
