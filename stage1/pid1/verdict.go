package pid1

import "encoding/json"

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
// to its file descriptor 3 before it exits with status 0.
type Verdict struct {
	Action  Action  `json:"action"`
	Console string  `json:"console,omitempty"` // device for Shell, such as /dev/ttyS0
	Stage2  *Stage2 `json:"stage2,omitempty"`  // for HandOver
	Reason  string  `json:"reason,omitempty"`  // for Panic: class and cause, one line
}

// Stage2 is a new root that is ready to be switched to.
type Stage2 struct {
	Root    string   `json:"root"`              // mount point, such as /mnt-root
	Move    []string `json:"move"`              // mount points to take along, such as /proc
	Init    string   `json:"init"`              // inside Root, without links
	Prepare string   `json:"prepare,omitempty"` // run inside Root before Init
	State   string   `json:"state,omitempty"`   // inside Root: what an Init that is systemd is to go on from
}

// Encode writes v as a child sends it. It is shorter than a pipe's buffer.
func (v Verdict) Encode() ([]byte, error) { return json.Marshal(v) }

// A Crash is how a child ended that left no verdict.
type Crash struct {
	Class  string // "panic", "killed", "exec" or "handover"
	Detail string // one line
}
