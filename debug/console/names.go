// Package console finds the machine's consoles and talks to one of them:
// keys without Enter, writes that can't block for ever, a status line.
package console

import (
	"bufio"
	"io"
	"strconv"
	"strings"
)

// Name is one line of /proc/consoles (Documentation/filesystems/proc.rst,
// section 1.10).
type Name struct {
	Name      string // "ttyS0"
	Readable  bool   // R: keys can come from it
	Writable  bool   // W
	Enabled   bool   // E
	Preferred bool   // C: the kernel's choice for /dev/console
	Major     int    // device number, 0 when the console is no character device
	Minor     int
}

// Path is the console's device.
func (n Name) Path() string { return "/dev/" + n.Name }

// List reads /proc/consoles. Lines it doesn't understand are left out.
func List(procConsoles io.Reader) []Name {
	var names []Name
	lines := bufio.NewScanner(procConsoles)
	for lines.Scan() {
		if n, ok := parseName(lines.Text()); ok {
			names = append(names, n)
		}
	}
	return names
}

// parseName reads "ttyS0                -W- (EC  p a)    4:64". The flags in
// the brackets stand in fixed columns, blank when unset.
func parseName(line string) (Name, bool) {
	head, rest, ok := strings.Cut(line, "(")
	flags, dev, ok2 := strings.Cut(rest, ")")
	field := strings.Fields(head)
	if !ok || !ok2 || len(field) != 2 || !validName(field[0]) {
		return Name{}, false
	}
	n := Name{
		Name:      field[0],
		Readable:  strings.Contains(field[1], "R"),
		Writable:  strings.Contains(field[1], "W"),
		Enabled:   strings.Contains(flags, "E"),
		Preferred: strings.Contains(flags, "C"),
	}
	if major, minor, ok := strings.Cut(strings.TrimSpace(dev), ":"); ok {
		a, err := strconv.ParseUint(major, 10, 12)
		b, err2 := strconv.ParseUint(minor, 10, 20)
		if err == nil && err2 == nil {
			n.Major, n.Minor = int(a), int(b)
		}
	}
	return n, true
}

// validName keeps a name from leading out of /dev.
func validName(s string) bool {
	if s == "" || strings.Contains(s, "..") || strings.HasPrefix(s, "/") {
		return false
	}
	for _, r := range s {
		if r <= ' ' || r > '~' {
			return false
		}
	}
	return true
}

// Interactive chooses the console that keys are read from: want, the last
// console= of the command line with or without its options ("ttyS0,115200n8"),
// when it is among the names or there are none; else the kernel's preferred
// one; else the last.
func Interactive(names []Name, want string) (Name, bool) {
	want, _, _ = strings.Cut(want, ",")
	want = strings.TrimPrefix(want, "/dev/")
	choice, ok := Name{}, false
	for _, n := range names {
		if n.Name == want {
			return n, true
		}
		if !choice.Preferred {
			choice, ok = n, true
		}
	}
	if !ok && validName(want) {
		return Name{Name: want}, true
	}
	return choice, ok
}
