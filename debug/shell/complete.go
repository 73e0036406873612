package shell

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// builtins are the interpreter's own commands that a person at a prompt types.
var builtins = strings.Fields("alias cd echo eval exec exit export false jobs printf pwd read set shift source test trap true type umask unalias unset wait")

// before are words that a command follows.
var before = strings.Fields("! { do elif else if then time until while")

const (
	wordEnds    = " \t\n;|&()<>"
	commandEnds = ";|&("                        // what ends a command, so that another begins
	special     = wordEnds + "\\'\"$`*?[]#~!{}" // what a file name needs a backslash before
	mostShown   = 100
)

// A completer knows what a word may become.
type completer struct{ *shell }

// completion is what Tab does to a line.
type completion struct {
	line    string
	pos     int      // of the cursor, in bytes
	choices []string // to show, when there are several and the line can't be made longer
}

// complete completes the word before the cursor: a command where one is expected, else what Words knows, else a file.
// The word is taken as it is between blanks and operators; quotes are not looked into.
func (s *shell) complete(line string, pos int) completion {
	c, known := completion{line: line, pos: pos}, completer{s}
	start := wordStart(line[:pos])
	word := unquote(line[start:pos])
	command, args := commandBefore(line[:start])
	var found []string
	switch {
	case command == "" && !strings.Contains(word, "/"):
		found = known.commands()
	case command != "":
		if s.Words != nil {
			found = s.Words(command, args)
		}
	}
	found = slices.DeleteFunc(found, func(name string) bool { return !strings.HasPrefix(name, word) })
	if len(found) == 0 {
		found = known.files(word)
	}
	if len(found) == 0 {
		return c
	}
	slices.Sort(found)
	found = slices.Compact(found)
	longer := commonPrefix(found)
	insert := quote(longer)
	if len(found) == 1 && !strings.HasSuffix(longer, "/") {
		insert += " "
	}
	if len(found) > 1 && longer == word {
		c.choices = found
		return c
	}
	c.line, c.pos = line[:start]+insert+line[pos:], start+len(insert)
	return c
}

// wordStart is where the last word of text begins.
func wordStart(text string) int {
	for i := len(text) - 1; i >= 0; i-- {
		if strings.IndexByte(wordEnds, text[i]) >= 0 && !escaped(text, i) {
			return i + 1
		}
	}
	return 0
}

// escaped tells whether a backslash takes the meaning from the byte at i.
func escaped(text string, i int) bool {
	n := 0
	for i--; i >= 0 && text[i] == '\\'; i-- {
		n++
	}
	return n%2 == 1
}

// commandBefore is the command, and its arguments, that the text before a word belongs to; "" where the word is itself
// a command.
func commandBefore(text string) (command string, args []string) {
	from := 0
	for i := range len(text) {
		if strings.IndexByte(commandEnds, text[i]) >= 0 && !escaped(text, i) {
			from = i + 1
		}
	}
	words := strings.Fields(text[from:])
	for len(words) > 0 && (slices.Contains(before, words[0]) || strings.Contains(words[0], "=")) {
		words = words[1:]
	}
	if len(words) == 0 {
		return "", nil
	}
	return words[0], words[1:]
}

// commands are all that can be called by name.
func (s completer) commands() []string {
	names := slices.Concat(s.Applets, builtins)
	for _, dir := range filepath.SplitList(s.variable("PATH")) {
		entries, _ := os.ReadDir(dir) // one that is not there has none
		for _, e := range entries {
			if info, err := os.Stat(filepath.Join(dir, e.Name())); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 && shown(e.Name()) {
				names = append(names, e.Name())
			}
		}
	}
	return names
}

func (s completer) variable(name string) string {
	if v, ok := s.runner.Vars[name]; ok {
		return v.String()
	}
	return s.runner.Env.Get(name).String()
}

// files are the paths that begin with word, folders with a slash at their end.
func (s completer) files(word string) []string {
	dir, base := "", word
	if i := strings.LastIndexByte(word, '/'); i >= 0 {
		dir, base = word[:i+1], word[i+1:]
	}
	in := dir
	switch {
	case in == "~/" || strings.HasPrefix(in, "~/"):
		in = filepath.Join(s.variable("HOME"), in[2:])
	case !filepath.IsAbs(in):
		in = filepath.Join(s.runner.Dir, in)
	}
	entries, err := os.ReadDir(in)
	if err != nil {
		return nil
	}
	var found []string
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, base) || name[0] == '.' && base == "" || !shown(name) {
			continue
		}
		if info, err := os.Stat(filepath.Join(in, name)); err == nil && info.IsDir() {
			name += "/"
		}
		found = append(found, dir+name)
	}
	return found
}

// shown tells whether a name can be shown and typed.
func shown(name string) bool {
	return utf8.ValidString(name) && !strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f })
}

func commonPrefix(names []string) string {
	prefix := names[0]
	for _, name := range names[1:] {
		for !strings.HasPrefix(name, prefix) {
			_, size := utf8.DecodeLastRuneInString(prefix)
			prefix = prefix[:len(prefix)-size]
		}
	}
	return prefix
}

// quote puts a backslash before what the shell would not leave alone; a "~/" at the beginning stays.
func quote(name string) string {
	var b strings.Builder
	for i, r := range name {
		if strings.ContainsRune(special, r) && !(i == 0 && strings.HasPrefix(name, "~/")) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

func unquote(word string) string {
	var b strings.Builder
	for i := 0; i < len(word); i++ {
		if word[i] == '\\' && i+1 < len(word) {
			i++
		}
		b.WriteByte(word[i])
	}
	return b.String()
}

// columns shows what there is, without the folders that all are in, in lines of less than width columns.
func columns(choices []string, width int) string {
	var b strings.Builder
	folder := strings.LastIndexByte(commonPrefix(choices), '/') + 1
	column := 0
	for _, c := range choices {
		column = max(column, utf8.RuneCountInString(c)-folder+2)
	}
	perLine := max(1, (width-1)/column)
	for i, c := range choices {
		if i == mostShown {
			fmt.Fprintf(&b, "\n… and %d more", len(choices)-i)
			break
		}
		if i > 0 && i%perLine == 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%-*s", column, c[folder:])
	}
	return b.String() + "\n"
}
