package main

import (
	"log/slog"

	"netstage/debug/kmsg"
	"netstage/stage1/stream"
)

// runStream is one of the processes that hold a root which is still on its way.
func runStream(args []string) int {
	log, err := kmsg.Open("")
	if err != nil {
		return stream.Main(args, slog.New(slog.DiscardHandler), func(string) {})
	}
	log.Tag = tag
	logger := slog.New(kmsg.NewHandler(kmsg.HandlerOptions{Kmsg: log, Tag: tag}))
	return stream.Main(args, logger, func(line string) { _ = log.Log(kmsg.PrioAlert, line) })
}
