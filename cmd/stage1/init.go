package main

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"netstage/debug/console"
	"netstage/debug/kmsg"
	"netstage/stage1/pid1"
)

// tag begins every line in the kernel log, as in nixpkgs' stage-1-init.sh.
const tag = "stage-1-init: "

// runInit is PID 1.
func runInit() {
	exe := os.Args[0]
	if exe[0] != '/' {
		exe = "/init"
	}
	pid1.Run(pid1.Config{Exe: exe, Say: say, Lost: time.Minute, NoFlowControl: stopFlowControl()})
}

// stopFlowControl returns a function that stops the flow control of all
// consoles which it has not seen yet, and returns what restores all that it
// ever stopped. A child that was killed while it showed a screen has left the
// kernel hushed: that is undone, too.
func stopFlowControl() func() (restore func()) {
	seen, stopped := map[string]bool{}, []console.FlowControl{}
	var printing *kmsg.Printing
	return func() func() {
		if printing == nil {
			printing = kmsg.ReadPrinting("", "")
		}
		_ = printing.Reset() // there may be nothing to be set
		for _, name := range consoles() {
			if name.Major != 0 && !seen[name.Path()] {
				seen[name.Path()] = true
				stopped = append(stopped, console.StopFlowControl(name.Path()))
			}
		}
		return func() {
			for _, c := range stopped {
				c.Restore()
			}
		}
	}
}

// say opens the kernel log for each line, because PID 1 speaks before /dev is
// mounted, after it has moved, and rarely: of what nobody else can tell, so
// that it is on the consoles however quiet the kernel is to be.
func say(line string) {
	log, err := kmsg.Open("/dev/kmsg")
	if off, _ := kmsg.Unlimit(""); off && err == nil {
		log.Close()
		err = errors.New("nothing is logged")
	}
	if err == nil {
		defer log.Close()
		log.Tag = tag
		err = log.Log(kmsg.PrioAlert, line)
	}
	if err != nil {
		unix.SetNonblock(stderr, true)
		unix.Write(stderr, []byte(tag+line+"\n"))
	}
}

const stderr = 2
