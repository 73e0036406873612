package applets

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func runSHA256Sum(c *call) error {
	return c.eachFile(c.args, func(name string, r io.Reader) error {
		hash := sha256.New()
		if _, err := io.Copy(hash, r); err != nil {
			c.complain(err)
			return nil
		}
		if name == "standard input" {
			name = "-"
		}
		_, err := fmt.Fprintf(c.out, "%s  %s\n", hex.EncodeToString(hash.Sum(nil)), name)
		return err
	})
}

// whichFunc is which, for a shell that has these utilities besides what is in
// PATH.
func whichFunc(has func(name string) bool) func(*call) error {
	return func(c *call) error {
		for _, name := range c.args {
			path, err := exec.LookPath(name)
			switch {
			case err == nil:
				fmt.Fprintln(c.out, path)
			case has(name):
				fmt.Fprintf(c.out, "%s: a utility of this shell\n", name)
			default:
				c.failed = true
			}
		}
		return nil
	}
}

// formats are date's, as far as Go's package time has them.
var formats = map[byte]string{
	'Y': "2006", 'm': "01", 'd': "02", 'H': "15", 'M': "04", 'S': "05", 'F': "2006-01-02", 'T': "15:04:05", 'N': "000000000", 'z': "-0700", 'Z': "MST",
}

// settable are the times that date -s takes, in UTC.
var settable = []string{time.RFC3339, time.DateTime, "2006-01-02 15:04", time.DateOnly}

func runDate(c *call) error {
	if text, ok := c.opts['s']; ok {
		var at time.Time
		err := error(usageError(fmt.Sprintf("%q is no time: give YYYY-MM-DD HH:MM:SS, in UTC", text)))
		for _, layout := range settable {
			if t, wrong := time.Parse(layout, text); wrong == nil {
				at, err = t, nil
				break
			}
		}
		if err != nil {
			return err
		}
		tv := unix.NsecToTimeval(at.UnixNano())
		if err := unix.Settimeofday(&tv); err != nil {
			return fmt.Errorf("set the clock: %w", err)
		}
	}
	now := time.Now().UTC()
	if len(c.args) == 0 {
		fmt.Fprintln(c.out, now.Format("Mon Jan _2 15:04:05 UTC 2006"))
		return nil
	}
	format, is := strings.CutPrefix(c.args[0], "+")
	if !is || len(c.args) > 1 {
		return usageError(fmt.Sprintf("unexpected %q", c.args[0]))
	}
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			c.out.WriteByte(format[i])
			continue
		}
		i++
		switch layout, known := formats[format[i]]; {
		case known && format[i] == 'N':
			fmt.Fprintf(c.out, "%09d", now.Nanosecond())
		case known:
			c.out.WriteString(now.Format(layout))
		case format[i] == 's':
			fmt.Fprint(c.out, now.Unix())
		case format[i] == '%':
			c.out.WriteByte('%')
		default:
			return usageError(fmt.Sprintf("unknown format %%%c", format[i]))
		}
	}
	c.out.WriteByte('\n')
	return nil
}

// lspciFunc lists PCI devices as "lspci -nk" does, on a line each; sys is
// sysfs.
func lspciFunc(sys string) func(*call) error {
	return func(c *call) error {
		devices, err := filepath.Glob(filepath.Join(sys, "bus/pci/devices/*"))
		if err != nil {
			return err
		}
		slices.Sort(devices)
		for _, device := range devices {
			read := func(name string) string {
				text, _ := os.ReadFile(filepath.Join(device, name)) // one that goes meanwhile
				return strings.TrimPrefix(strings.TrimSpace(string(text)), "0x")
			}
			class := read("class")
			fmt.Fprintf(c.out, "%s %s: %s:%s", filepath.Base(device), class[:min(len(class), 4)], read("vendor"), read("device"))
			if driver, err := os.Readlink(filepath.Join(device, "driver")); err == nil {
				fmt.Fprintf(c.out, " %s", filepath.Base(driver))
			}
			if nets, _ := filepath.Glob(filepath.Join(device, "net/*")); len(nets) > 0 {
				fmt.Fprintf(c.out, " %s", filepath.Base(nets[0]))
			}
			c.out.WriteByte('\n')
		}
		return nil
	}
}
