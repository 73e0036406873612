package applets

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// process is what /proc/PID/stat says (proc(5)).
type process struct {
	pid, ppid int
	name      string
	state     byte
	ticks     uint64 // user and system time in 1/100 s
	rss       int64  // pages
	tty       int
}

// parseStat reads /proc/PID/stat. The name may hold blanks and brackets.
func parseStat(s string) (process, bool) {
	open, end := strings.IndexByte(s, '('), strings.LastIndexByte(s, ')')
	if open < 0 || end < open {
		return process{}, false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(s[:open]))
	f := strings.Fields(s[end+1:])
	if err != nil || len(f) < 22 || f[0] == "" {
		return process{}, false
	}
	n := func(i int) int64 { v, _ := strconv.ParseInt(f[i-3], 10, 64); return v } // numbered as in proc(5)
	return process{
		pid: pid, name: s[open+1 : end], state: f[0][0], ppid: int(n(4)), tty: int(n(7)),
		ticks: uint64(n(14) + n(15)), rss: n(24),
	}, true
}

func runPs(c *call) error {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	var list []process
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		b, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // ended since
		}
		if p, ok := parseStat(string(b)); ok {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b process) int { return a.pid - b.pid })
	fmt.Fprintf(c.out, "%7s %7s S %9s %9s COMMAND\n", "PID", "PPID", "TIME", "RSS KiB")
	for _, p := range list {
		command := "[" + p.name + "]"
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid)); err == nil && len(b) > 0 {
			command = strings.TrimRight(strings.ReplaceAll(string(b), "\x00", " "), " ")
		}
		fmt.Fprintf(c.out, "%7d %7d %c %6d.%02d %9d %s\n", p.pid, p.ppid, p.state, p.ticks/100, p.ticks%100,
			p.rss*int64(os.Getpagesize()/1024), command)
	}
	return nil
}

func runKill(c *call) error {
	sig := unix.SIGTERM
	args := c.args
	if len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' && args[0] != "--" {
		name := strings.ToUpper(args[0][1:])
		args = args[1:]
		if name == "L" {
			for n := unix.Signal(1); n < 32; n++ {
				fmt.Fprintf(c.out, "%d %s\n", n, strings.TrimPrefix(unix.SignalName(n), "SIG"))
			}
			return nil
		}
		if name == "S" && len(args) > 0 {
			name, args = strings.ToUpper(args[0]), args[1:]
		}
		if n, err := strconv.Atoi(name); err == nil && n >= 0 && n < 65 {
			sig = unix.Signal(n)
		} else if sig = unix.SignalNum("SIG" + strings.TrimPrefix(name, "SIG")); sig == 0 {
			return usageError("unknown signal " + name)
		}
	}
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return usageError("no process")
	}
	for _, arg := range args {
		pid, err := strconv.Atoi(arg)
		if err != nil {
			c.complain(usageError(fmt.Sprintf("%q is no process number", arg)))
			continue
		}
		if err := unix.Kill(pid, sig); err != nil {
			c.complain(fmt.Errorf("%d: %w", pid, err))
		}
	}
	return nil
}

func runFree(c *call) error {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return err
	}
	m := parseMeminfo(string(b))
	div, unit := uint64(1), "KiB"
	if c.has('m') {
		div, unit = 1024, "MiB"
	}
	cache := m["Buffers"] + m["Cached"] + m["SReclaimable"]
	used := m["MemTotal"] - min(m["MemTotal"], m["MemAvailable"])
	fmt.Fprintf(c.out, "%-6s%12s%12s%12s%12s%12s%12s\n", unit, "total", "used", "free", "shared", "buff/cache", "available")
	fmt.Fprintf(c.out, "%-6s%12d%12d%12d%12d%12d%12d\n", "Mem:", m["MemTotal"]/div, used/div, m["MemFree"]/div, m["Shmem"]/div, cache/div, m["MemAvailable"]/div)
	fmt.Fprintf(c.out, "%-6s%12d%12d%12d\n", "Swap:", m["SwapTotal"]/div, (m["SwapTotal"]-m["SwapFree"])/div, m["SwapFree"]/div)
	return nil
}

// parseMeminfo reads "Name:   N kB" lines.
func parseMeminfo(s string) map[string]uint64 {
	m := map[string]uint64{}
	for line := range strings.Lines(s) {
		name, value, _ := strings.Cut(line, ":")
		f := strings.Fields(value)
		if len(f) == 0 {
			continue
		}
		if n, err := strconv.ParseUint(f[0], 10, 64); err == nil {
			m[name] = n
		}
	}
	return m
}

func runDf(c *call) error {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	size := func(n uint64) string { return fmt.Sprint(n / 1024) }
	title := "1K-blocks"
	if c.has('h') {
		size, title = human, "Size"
	}
	fmt.Fprintf(c.out, "%-20s %10s %10s %10s %4s %s\n", "Filesystem", title, "Used", "Available", "Use%", "Mounted on")
	show := func(source, dir string, always bool) error {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
		if st.Blocks == 0 && !always {
			return nil
		}
		bs := uint64(st.Frsize)
		used, avail := (st.Blocks-st.Bfree)*bs, st.Bavail*bs
		percent := "-"
		if used+avail > 0 {
			percent = fmt.Sprintf("%.0f%%", ceil(float64(used)*100/float64(used+avail)))
		}
		_, err := fmt.Fprintf(c.out, "%-20s %10s %10s %10s %4s %s\n", source, size(st.Blocks*bs), size(used), size(avail), percent, dir)
		return err
	}
	mounts := parseMounts(string(b))
	if len(c.args) == 0 {
		for _, m := range mounts {
			if err := show(m[0], m[1], false); err != nil && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.ENOENT) {
				c.complain(err)
			}
		}
		return nil
	}
	for _, path := range c.args {
		real, err := filepath.EvalSymlinks(path)
		if err == nil {
			real, err = filepath.Abs(real)
		}
		if err != nil {
			c.complain(err)
			continue
		}
		at := [2]string{"-", ""}
		for _, m := range mounts { // the last of equal ones is on top
			if in, _ := within(real, m[1]); in && len(m[1]) >= len(at[1]) {
				at = m
			}
		}
		if err := show(at[0], at[1], true); err != nil {
			c.complain(err)
		}
	}
	return nil
}

// parseMounts reads sources and folders from /proc/self/mounts, where blanks
// are octal (proc(5)).
func parseMounts(s string) [][2]string {
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var mounts [][2]string
	for line := range strings.Lines(s) {
		if f := strings.Fields(line); len(f) >= 2 {
			mounts = append(mounts, [2]string{unescape.Replace(f[0]), unescape.Replace(f[1])})
		}
	}
	return mounts
}
