package fault

import "time"

// A Failure is a step that failed, as an operator hears of it: on the failure
// screen, in the kernel log, and, as far as it has JSON names, in the boot
// report.
type Failure struct {
	Class Class    `json:"class"`
	Cause string   `json:"cause"` // one line
	Step  string   `json:"step"`
	Tried []string `json:"tried,omitempty"` // attempts, newest last

	Attempt int           `json:"-"` // at the step, from 1; 0: not known
	Took    time.Duration `json:"-"` // since the step began; 0: not known
	Earlier string        `json:"-"` // such as "failed boot 3 in a row"; empty: not worth a word
	Next    string        `json:"-"` // the step to go on with, where this one may be left out; else empty
	Advice  []string      `json:"-"` // what to do; default Class.Advice
	Facts   []Fact        `json:"-"` // what else is worth seeing, the most important first
	Agent   []string      `json:"-"` // the agent's last log lines, newest last
	Kernel  []string      `json:"-"` // the kernel's, likewise

	// Network is the table of links as it is now; nil: there is none.
	Network func(width int) []string `json:"-"`
}

// A Fact is lines about one matter, for example the network. Its title is of at
// most seven characters: it stands in the margin.
type Fact struct {
	Title string
	Lines []string
}

// A Choice is what follows a failure, or a breakpoint.
type Choice string

// The choices.
const (
	Retry     Choice = "retry"    // the step
	Continue  Choice = "continue" // with the next step
	Shell     Choice = "shell"    // in a session of its own; afterwards by its exit status
	ShellPID1 Choice = "shell as PID 1"
	Reboot    Choice = "reboot"
	GiveUp    Choice = "reboot, for nobody pressed a key"
	PowerOff  Choice = "power-off"
	Panic     Choice = "panic"
)
