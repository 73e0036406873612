package kmsg

import (
	"cmp"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
)

// The kernel's settings of what it prints on its consoles.
const (
	printkPath = "/proc/sys/kernel/printk"
	ignorePath = "/sys/module/printk/parameters/ignore_loglevel"
)

// Printing is what the kernel prints on its consoles by itself. It may be used
// by several goroutines.
type Printing struct {
	path  string
	below atomic.Int32 // priorities below this one are printed
	fixed bool         // whatever the file says: ignore_loglevel
}

// ReadPrinting reads the kernel's settings, where the names are empty, or files
// like theirs: of console_loglevel, and the one that says "Y" when the kernel
// was started with ignore_loglevel. Where they can't be read nothing is
// printed.
func ReadPrinting(printk, ignore string) *Printing {
	printk, ignore = cmp.Or(printk, printkPath), cmp.Or(ignore, ignorePath)
	p := &Printing{path: printk}
	if b, err := os.ReadFile(ignore); err == nil && strings.HasPrefix(string(b), "Y") {
		p.below.Store(PrioDebug + 1)
		p.fixed = true
		return p
	}
	if levels, err := readLevels(printk); err == nil {
		p.below.Store(int32(levels[0]))
	}
	return p
}

// prints tells whether a line is on the consoles by the kernel's doing.
func (p *Printing) prints(prio int) bool { return prio < int(p.below.Load()) }

// hushed is the console_loglevel while somebody reads a screen: emergencies and
// alerts, of which PID 1 speaks.
const hushed = PrioAlert + 1

// Hush keeps what the kernel logs off the consoles, so that a screen there
// stays to be read; all of it is in the log. The function it returns undoes
// that.
func (p *Printing) Hush() (restore func() error, err error) {
	nothing := func() error { return nil }
	if p.fixed || p.below.Load() <= hushed {
		return nothing, nil
	}
	levels, err := readLevels(p.path)
	if err != nil {
		return nothing, err
	}
	if err := p.set(levels, hushed); err != nil {
		return nothing, err
	}
	return func() error { return p.set(levels, levels[0]) }, nil
}

// Reset sets what was read at first, where a process that hushed the kernel was
// killed. An error is that there is nothing to be set.
func (p *Printing) Reset() error {
	levels, err := readLevels(p.path)
	if was := int(p.below.Load()); err == nil && !p.fixed && levels[0] == hushed && was > hushed {
		err = p.set(levels, was)
	}
	return err
}

func (p *Printing) set(levels []int, console int) error {
	words := []string{strconv.Itoa(console)}
	for _, n := range levels[1:] {
		words = append(words, strconv.Itoa(n))
	}
	if err := os.WriteFile(p.path, []byte(strings.Join(words, "\t")+"\n"), 0o644); err != nil {
		return fmt.Errorf("set what the kernel prints: %w", err)
	}
	p.below.Store(int32(console))
	return nil
}

// readLevels reads /proc/sys/kernel/printk: console_loglevel and its kin.
func readLevels(path string) ([]int, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("what the kernel prints: %w", err)
	}
	var levels []int
	for _, word := range strings.Fields(string(text)) {
		n, err := strconv.Atoi(word)
		if err != nil {
			return nil, fmt.Errorf("what the kernel prints: %s: %w", path, err)
		}
		levels = append(levels, n)
	}
	if len(levels) == 0 {
		return nil, fmt.Errorf("what the kernel prints: %s is empty", path)
	}
	return levels, nil
}
