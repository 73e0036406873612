package applets

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// runGrep matches extended expressions, or basic ones where they are the same:
// a pattern is RE2's (the shell's library links package regexp anyway).
func runGrep(c *call) error {
	if len(c.args) == 0 {
		return usageError("no pattern")
	}
	pattern, names := c.args[0], c.args[1:]
	if c.has('F') {
		pattern = regexp.QuoteMeta(pattern)
	} else if !c.has('E') {
		pattern = fromBasic(pattern)
	}
	if c.has('i') {
		pattern = "(?i)" + pattern
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return usageError(err.Error())
	}
	if c.has('r') {
		names = c.below(names)
	}
	found := false
	err = c.eachFile(names, func(name string, r io.Reader) error {
		if f, ok := r.(*os.File); ok {
			if fi, err := f.Stat(); err == nil && fi.IsDir() {
				c.complain(fmt.Errorf("%s: is a directory", name))
				return nil
			}
		}
		prefix := ""
		if len(names) > 1 || c.has('r') {
			prefix = name + ":"
		}
		n, err := c.grep(re, r, prefix)
		found = found || n > 0
		if c.has('c') {
			fmt.Fprintf(c.out, "%s%d\n", prefix, n)
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case c.failed:
		return exitStatus(2)
	case !found:
		return exitStatus(1)
	}
	return nil
}

func (c *call) grep(re *regexp.Regexp, r io.Reader, prefix string) (matches int, err error) {
	in := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if len(line) == 0 && err != nil {
			return matches, notEOF(err)
		}
		line = bytes.TrimSuffix(line, []byte("\n"))
		if re.Match(line) == c.has('v') {
			continue
		}
		matches++
		if c.has('q') {
			return matches, exitStatus(0)
		}
		if c.has('c') {
			continue
		}
		c.out.WriteString(prefix)
		if c.has('n') {
			fmt.Fprintf(c.out, "%d:", n)
		}
		c.out.Write(line)
		if err := c.out.WriteByte('\n'); err != nil {
			return matches, err
		}
		if in.Buffered() == 0 { // a source that pauses, such as dmesg -w
			if err := c.out.Flush(); err != nil {
				return matches, err
			}
		}
	}
}

// below lists the regular files below each name, the working directory by
// default.
func (c *call) below(names []string) []string {
	if len(names) == 0 {
		names = []string{"."}
	}
	var files []string
	for _, name := range names {
		err := filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				c.complain(err)
				return nil
			}
			if d.Type().IsRegular() {
				files = append(files, path)
			}
			return nil
		})
		if err != nil {
			c.complain(err)
		}
	}
	if len(files) == 0 {
		files = []string{os.DevNull}
	}
	return files
}

// fromBasic turns a basic expression into an extended one: + ? | ( ) { } are
// plain there, and special with a backslash (POSIX.1, 9.3).
func fromBasic(s string) string {
	var b strings.Builder
	bracket := false
	for i := 0; i < len(s); i++ {
		ch := s[i]
		switch {
		case bracket:
			bracket = ch != ']' || s[i-1] == '[' || s[i-1] == '^'
		case ch == '[':
			bracket = true
		case ch == '\\' && i+1 < len(s):
			i++
			if !strings.ContainsRune("+?|(){}", rune(s[i])) {
				b.WriteByte('\\')
			}
			ch = s[i]
		case strings.ContainsRune("+?|(){}", rune(ch)):
			b.WriteByte('\\')
		}
		b.WriteByte(ch)
	}
	return b.String()
}
