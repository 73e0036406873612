package main

import (
	"context"
	"log/slog"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"netstage/mount"
	"netstage/stage1"
	"netstage/stage1/config"
	"netstage/stage1/pid1"
)

// crashFile keeps the trace of a boot that panicked for the rescue. It lies
// in the initramfs, because /run may not be there yet.
const crashFile = "/.stage1-crash"

// runBoot is the child of PID 1 that does the work.
func runBoot() int {
	unix.CloseOnExec(verdictFD)
	unix.CloseOnExec(heartbeatFD)
	protect()
	if file, err := os.Create(crashFile); err == nil {
		debug.SetCrashOutput(file, debug.CrashOptions{})
		file.Close()
	}
	// The log needs /proc and /dev. The step "pseudo" tries again and tells
	// what is wrong with them.
	mount.MountMissing(mount.Pseudo[:3])
	log := openJournal()
	people := newOperator(log)
	end := stage1.Run(context.Background(), stage1.Agent{
		Log: log.Logger, Version: version, Built: built(),
		KernelLog: kernelLog, Warnings: log.warnings.list, Forward: forward, Heartbeat: sendHeartbeat,
		Status: func(text string) { log.screen.SetStatus(text) },
		Configure: func(c config.Config) {
			if c.Trace {
				log.level.Set(slog.LevelDebug)
			}
		},
		Break:  people.lookAround,
		Rescue: people.rescue,
		SSH:    people.remote.start,
	})
	handOver := end.HandOver
	if handOver == nil {
		verdict := verdictOf(end.Choice)
		verdict.Reason = end.Reason
		return log.sendVerdict(verdict)
	}
	return log.sendVerdict(pid1.Verdict{
		Action: pid1.HandOver, Rescue: encodeLastRescue(commandLine()),
		Stage2: &pid1.Stage2{
			Root: handOver.Root, Move: handOver.Move, Init: handOver.Init, Name: handOver.Name, Prepare: handOver.Prepare, State: handOver.State,
		},
	})
}
