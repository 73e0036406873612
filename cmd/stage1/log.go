package main

import (
	"context"
	"log/slog"
	"os"

	"golang.org/x/term"

	"netstage/debug/console"
	"netstage/debug/kmsg"
)

// journal is where a child's lines go: the kernel log, the console, and a
// ring of the last ones for the failure screen.
type journal struct {
	*slog.Logger
	level  slog.LevelVar
	ring   *kmsg.Ring
	screen *console.Line
}

// openJournal needs /proc and /dev. Without the kernel log all lines go to
// the console alone.
func openJournal() *journal {
	j := &journal{ring: kmsg.NewRing(200)}
	width, _ := console.Size(int(os.Stdout.Fd()))
	j.screen = console.NewLine(os.Stdout, term.IsTerminal(int(os.Stdout.Fd())), width)
	log, err := kmsg.Open("/dev/kmsg")
	if err != nil {
		log = nil
	} else {
		log.Tag = tag
	}
	_, limitErr := kmsg.Unlimit("/proc/sys/kernel/printk_devkmsg")
	j.Logger = slog.New(kmsg.NewHandler(kmsg.HandlerOptions{
		Kmsg: log, Console: j.screen, Ring: j.ring, Tag: tag, Level: &j.level,
	}))
	if err != nil {
		j.Warn("the kernel log can't be written: " + err.Error())
	}
	if limitErr != nil {
		j.Warn("the kernel log may drop lines: " + limitErr.Error())
	}
	return j
}

// kernelLog is the end of the kernel log, as far as it can be read.
func kernelLog(lines int) []string {
	ring := kmsg.NewRing(lines)
	kmsg.Tail(context.Background(), ring, kmsg.TailOptions{})
	return ring.Lines()
}
