package main

import (
	"fmt"
	"os"
	"time"

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
	pid1.Run(pid1.Config{Exe: exe, Say: say, Lost: time.Minute})
}

// say opens the kernel log for each line, because PID 1 speaks before /dev is
// mounted, after it has moved, and rarely: of what nobody else can tell, so
// that it is on the consoles however quiet the kernel is to be.
func say(line string) {
	log, err := kmsg.Open("/dev/kmsg")
	if err == nil {
		defer log.Close()
		err = log.Log(kmsg.PrioAlert, tag+line)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, tag+line)
	}
}
