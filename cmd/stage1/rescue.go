package main

import (
	"context"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"netstage/stage1"
	"netstage/stage1/config"
	"netstage/stage1/fault"
	"netstage/stage1/pid1"
	"netstage/stage1/reporting"
	"netstage/stage1/step"
)

// runRescue is the child of PID 1 that shows the failure ladder for a boot
// that ended without a verdict. Its arguments are a class and a cause,
// and pid1.LastRescue where the initramfs is gone.
func runRescue(args []string) int {
	unix.CloseOnExec(verdictFD)
	unix.CloseOnExec(heartbeatFD)
	since := step.SinceBoot() - time.Second // PID 1 has told of the end meanwhile
	protect()
	last := len(args) == 3 && args[2] == pid1.LastRescue
	failure := fault.Failure{Class: fault.Killed, Step: "boot", Cause: "no cause was given"}
	if len(args) >= 2 {
		failure.Class, failure.Cause = fault.Class(args[0]), args[1]
	}
	if failure.Class == fault.Handover || last {
		failure.Step = "handover"
	}
	failure.Facts, failure.Network = reporting.LeftFacts("/"), leftLinks
	var config config.Config
	if last {
		config = decodeLastRescue()
	} else {
		config = commandLine()
	}
	log := openJournal()
	if trace, err := os.ReadFile(crashFile); err == nil && len(trace) > 0 {
		const most = 8 // the message and the innermost calls
		for i, line := range strings.Split(string(trace), "\n") {
			if i == 0 {
				failure.Cause += ": " + line
			}
			if i < most {
				failure.Tried = append(failure.Tried, line)
			}
		}
		for _, line := range failure.Tried {
			log.Error(line)
		}
	}
	people := newOperator(log)
	people.last = last
	if config.SSH {
		stop, err := people.remote.start()
		if err != nil {
			log.Error("boot.ssh", "err", err)
		} else {
			defer stop() // before the boot is started again
		}
	}
	end := reporting.CrashReport{Log: log.Logger, Root: "/", KernelLog: kernelLog, Forward: forward, Since: since, Version: version, Config: config, Failure: failure, Heartbeat: sendHeartbeat}.Tell()
	choice := fault.Panic
	if !config.PanicOnFail {
		choice = orAsked(func(ctx context.Context) fault.Choice { return people.rescue(ctx, config, failure) })
	}
	end(choice)
	verdict := verdictOf(choice)
	verdict.Reason = string(failure.Class) + ": " + failure.Cause
	return log.sendVerdict(verdict)
}

// orAsked ends what it calls when somebody asks to go back, which is by
// starting the boot again.
func orAsked(rescue func(context.Context) fault.Choice) fault.Choice {
	ctx, cancel := context.WithCancel(context.Background())
	went := make(chan bool)
	go func() {
		asked := step.AwaitGoBack(ctx, stage1.StepNames())
		cancel()
		went <- asked != ""
	}()
	choice := rescue(ctx)
	cancel()
	if <-went {
		return fault.Retry
	}
	return choice
}
