package main

import (
	"encoding/json"
	"os"
	"time"

	"netstage/stage1/config"
)

// lastRescue is what the last rescue has to know: the one after the initramfs,
// and the policy in it, is gone. It offers no shell and starts nothing.
type lastRescue struct {
	Console     string        `json:"console"`
	FailTimeout time.Duration `json:"fail_timeout"`
	PanicOnFail bool          `json:"panic_on_fail,omitempty"`
}

func encodeLastRescue(c config.Config) json.RawMessage {
	text, err := json.Marshal(lastRescue{c.Console, c.FailTimeout, c.PanicOnFail})
	if err != nil {
		return nil // the rescue has its defaults
	}
	return text
}

// decodeLastRescue is the configuration of the last rescue.
func decodeLastRescue() config.Config {
	memory := os.NewFile(memoryFD, "memory")
	defer memory.Close()
	w := lastRescue{FailTimeout: time.Minute}
	_ = json.NewDecoder(memory).Decode(&w) // what it lacks has a default
	c := config.Config{Console: w.Console, FailTimeout: w.FailTimeout, PanicOnFail: w.PanicOnFail}
	c.Policy.NoShell = true
	return c
}
