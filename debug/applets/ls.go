package applets

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netstage/debug/console"
)

// entry is one file of a listing.
type entry struct {
	name, path string
	info       fs.FileInfo
}

func runLs(c *call) error {
	names := c.args
	if len(names) == 0 {
		names = []string{"."}
	}
	var files []entry
	var dirs []string
	for _, name := range names {
		fi, err := os.Lstat(name)
		if err == nil && fi.Mode()&fs.ModeSymlink != 0 && !c.has('l') && !c.has('d') {
			if target, err := os.Stat(name); err == nil {
				fi = target
			}
		}
		switch {
		case err != nil:
			c.complain(err)
		case fi.IsDir() && !c.has('d'):
			dirs = append(dirs, name)
		default:
			files = append(files, entry{name, name, fi})
		}
	}
	c.list(files)
	for i := 0; i < len(dirs); i++ {
		dir := dirs[i]
		if len(names) > 1 || c.has('R') {
			if i > 0 || len(files) > 0 {
				c.out.WriteByte('\n')
			}
			fmt.Fprintf(c.out, "%s:\n", dir)
		}
		entries, below := c.readDir(dir)
		c.list(entries)
		if c.has('R') {
			dirs = slices.Insert(dirs, i+1, below...)
		}
	}
	return nil
}

// readDir reads one folder, and returns its subfolders too.
func (c *call) readDir(dir string) (entries []entry, dirs []string) {
	list, err := os.ReadDir(dir)
	if err != nil {
		c.complain(err)
	}
	if c.has('a') {
		for _, name := range []string{".", ".."} {
			if fi, err := os.Lstat(filepath.Join(dir, name)); err == nil {
				entries = append(entries, entry{name, filepath.Join(dir, name), fi})
			}
		}
	}
	for _, d := range list {
		if strings.HasPrefix(d.Name(), ".") && !c.has('a') && !c.has('A') {
			continue
		}
		fi, err := d.Info()
		if err != nil {
			continue // gone since
		}
		path := filepath.Join(dir, d.Name())
		entries = append(entries, entry{d.Name(), path, fi})
		if fi.IsDir() {
			dirs = append(dirs, path)
		}
	}
	return entries, dirs
}

func (c *call) list(entries []entry) {
	slices.SortStableFunc(entries, func(a, b entry) int {
		if c.has('t') {
			if n := b.info.ModTime().Compare(a.info.ModTime()); n != 0 {
				return n
			}
		}
		return cmp.Compare(a.name, b.name)
	})
	if c.has('r') {
		slices.Reverse(entries)
	}
	switch {
	case c.has('l') || c.has('n'):
		c.long(entries)
	case c.has('1') || !c.terminal:
		for _, e := range entries {
			fmt.Fprintln(c.out, e.name)
		}
	default:
		c.columns(entries)
	}
}

func (c *call) columns(entries []entry) {
	width := 1
	for _, e := range entries {
		width = max(width, len([]rune(e.name))+2)
	}
	screen, _ := console.Size(1)
	cols := max(1, screen/width)
	rows := (len(entries) + cols - 1) / cols
	for row := range rows {
		line := ""
		for i := row; i < len(entries); i += rows {
			line += fmt.Sprintf("%-*s", width, entries[i].name)
		}
		fmt.Fprintln(c.out, strings.TrimRight(line, " "))
	}
}

// long prints "ls -ln": numbers for owners, for an initrd has no names.
func (c *call) long(entries []entry) {
	rows := make([][]string, len(entries))
	var width [4]int
	for i, e := range entries {
		rows[i] = c.row(e)
		for j := range width {
			width[j] = max(width[j], len(rows[i][j+1]))
		}
	}
	for _, r := range rows {
		fmt.Fprintf(c.out, "%s %*s %-*s %-*s %*s %s\n", r[0], width[0], r[1], width[1], r[2], width[2], r[3], width[3], r[4], r[5])
	}
}

// row is mode, links, owner, group, size or device, and time and name.
func (c *call) row(e entry) []string {
	links, uid, gid, size := "1", "0", "0", fmt.Sprint(e.info.Size())
	if c.has('h') {
		size = human(uint64(e.info.Size()))
	}
	if st, ok := e.info.Sys().(*syscall.Stat_t); ok {
		links, uid, gid = fmt.Sprint(st.Nlink), fmt.Sprint(st.Uid), fmt.Sprint(st.Gid)
		if e.info.Mode()&fs.ModeDevice != 0 {
			size = fmt.Sprintf("%d, %d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		}
	}
	when := e.info.ModTime()
	stamp := when.Format("Jan _2 15:04")
	if age := time.Since(when); age > 180*24*time.Hour || age < -time.Hour {
		stamp = when.Format("Jan _2  2006")
	}
	name := e.name
	if e.info.Mode()&fs.ModeSymlink != 0 {
		if target, err := os.Readlink(e.path); err == nil {
			name += " -> " + target
		}
	}
	return []string{modeString(e.info.Mode()), links, uid, gid, size, stamp + " " + name}
}

// modeString renders a mode as ls does; Go's own String has other letters.
func modeString(m fs.FileMode) string {
	b := []byte("----------")
	switch {
	case m&fs.ModeDir != 0:
		b[0] = 'd'
	case m&fs.ModeSymlink != 0:
		b[0] = 'l'
	case m&fs.ModeNamedPipe != 0:
		b[0] = 'p'
	case m&fs.ModeSocket != 0:
		b[0] = 's'
	case m&fs.ModeCharDevice != 0:
		b[0] = 'c'
	case m&fs.ModeDevice != 0:
		b[0] = 'b'
	}
	for i := range 9 {
		if m&(1<<(8-i)) != 0 {
			b[i+1] = "rwx"[i%3]
		}
	}
	special := func(set bool, at int, low, high byte) {
		switch {
		case set && b[at] == 'x':
			b[at] = low
		case set:
			b[at] = high
		}
	}
	special(m&fs.ModeSetuid != 0, 3, 's', 'S')
	special(m&fs.ModeSetgid != 0, 6, 's', 'S')
	special(m&fs.ModeSticky != 0, 9, 't', 'T')
	return string(b)
}

// human renders bytes with one digit and a unit, rounded up as coreutils do.
func human(n uint64) string {
	if n < 1024 {
		return fmt.Sprint(n)
	}
	units := "KMGTPE"
	f, i := float64(n)/1024, 0
	for f >= 1023.5 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	if f < 9.95 {
		return fmt.Sprintf("%.1f%c", ceil(f*10)/10, units[i])
	}
	return fmt.Sprintf("%.0f%c", ceil(f), units[i])
}

func ceil(f float64) float64 {
	n := float64(int64(f))
	if n < f {
		n++
	}
	return n
}
