package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"netstage/stage1/fault"
	"netstage/stage1/heartbeat"
	"netstage/stage1/pid1"
)

// verdictFD and heartbeatFD are the pipes that PID 1 gives its children,
// memoryFD is the file of memory that it gives the last rescue.
const (
	verdictFD   = 3
	heartbeatFD = 4
	memoryFD    = 5
)

// sendHeartbeat tells PID 1 that the boot goes on. A pipe that is full holds
// one already.
func sendHeartbeat(w heartbeat.Watchdog) {
	unix.Write(heartbeatFD, []byte(pid1.Heartbeat(w.After, w.Keep)))
}

// verdictOf translates a choice for PID 1.
func verdictOf(choice fault.Choice) pid1.Verdict {
	actions := map[fault.Choice]pid1.Action{
		fault.Retry: pid1.Retry, fault.Continue: pid1.Retry, fault.Reboot: pid1.Reboot,
		fault.PowerOff: pid1.PowerOff, fault.Panic: pid1.Panic, fault.ShellPID1: pid1.Shell,
	}
	verdict := pid1.Verdict{Action: actions[choice]}
	if verdict.Action == pid1.Shell {
		verdict.Console = consolePath(commandLine().Console)
	}
	return verdict
}

// sendVerdict hands the verdict to PID 1 and returns the exit status. The
// console has had what was said by then, as far as it takes anything.
func (j *journal) sendVerdict(v pid1.Verdict) int {
	j.stdout.Flush()
	text, err := v.Encode()
	if err == nil {
		_, err = os.NewFile(verdictFD, "verdict").Write(text)
	}
	if err != nil {
		j.Error(fmt.Sprintf("verdict: %v", err))
		return 1
	}
	return 0
}
