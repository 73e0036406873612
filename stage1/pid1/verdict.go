package pid1

import (
	"encoding/json"
	"errors"
	"fmt"

	"netstage/stage1/fault"
)

// An Action is what PID 1 is asked to do when a child has ended.
type Action string

// The actions of a verdict.
const (
	HandOver Action = "hand-over" // switch to the new root and execute stage 2
	Retry    Action = "retry"     // run the boot again from its start
	Shell    Action = "shell"     // become the shell
	Reboot   Action = "reboot"
	PowerOff Action = "power-off"
	Panic    Action = "panic" // exit, so that the kernel panics
)

// A Verdict is what a child leaves behind for PID 1: the last thing it writes
// to its file descriptor 3 before it exits, as one line.
type Verdict struct {
	Action  Action  `json:"action"`
	Console string  `json:"console,omitempty"` // device for Shell, such as /dev/ttyS0
	Stage2  *Stage2 `json:"stage2,omitempty"`  // for HandOver
	Reason  string  `json:"reason,omitempty"`  // for Panic: class and cause, one line

	// Rescue is for the rescue of a hand-over that failed when the initramfs
	// was gone already: what it reads from its descriptor 5.
	Rescue json.RawMessage `json:"rescue,omitempty"`
}

// Stage2 is a new root that is ready to be switched to.
type Stage2 struct {
	Root    string   `json:"root"`              // mount point, such as /mnt-root
	Move    []string `json:"move"`              // mount points to take along, such as /proc
	Init    string   `json:"init"`              // inside Root, without links
	Name    string   `json:"name,omitempty"`    // what Init is called by; empty: its path
	Args    []string `json:"args,omitempty"`    // of Init, after its name
	Prepare string   `json:"prepare,omitempty"` // run inside Root before Init
	State   string   `json:"state,omitempty"`   // inside Root: what an Init that is systemd is to go on from
}

// maxVerdict is a pipe's buffer: a child need not wait for its reader.
const maxVerdict = 64 << 10

var errUnfinished = errors.New("it is not finished")

// Encode writes v as a child sends it.
func (v Verdict) Encode() ([]byte, error) {
	text, err := json.Marshal(v)
	if err == nil && len(text) >= maxVerdict {
		err = fmt.Errorf("a verdict of %d bytes: at most %d are heeded", len(text), maxVerdict-1)
	}
	return append(text, '\n'), err
}

// A Crash is how a child ended that left no verdict.
type Crash struct {
	Class  fault.Class
	Detail string // one line
}
