package pid1

import (
	"strings"
	"testing"
	"time"

	"netstage/stage1/fault"
)

// How a child ends without a verdict has its class; a verdict that is whole
// counts whatever the child does after it.
func TestChild(t *testing.T) {
	for name, test := range map[string]struct {
		does   string
		action Action
		class  fault.Class
		detail string
		said   string
	}{
		"a verdict":          {`say:{"action":"retry"} end`, Retry, "", "", ""},
		"and a bad end":      {`say:{"action":"reboot"} end exit:2`, Reboot, "", "", ""},
		"and no end":         {`say:{"action":"reboot"} end hang`, Reboot, "", "", ""},
		"slow, and alive":    {`live:4 say:{"action":"retry"} end`, Retry, "", "", ""},
		"a panic":            {"exit:2", "", fault.Panicked, "boot panicked", ""},
		"a bad end":          {"exit:7", "", fault.Killed, "status 7", ""},
		"killed":             {"die", "", fault.Killed, "signal 9 (killed)", ""},
		"nothing said":       {"exit:0", "", fault.Killed, "left no verdict", ""},
		"an unfinished line": {`say:{"action":"retry"}`, "", fault.Killed, "not finished", ""},
		"no verdict":         {`say:{"action" end`, "", fault.Killed, "left no verdict", ""},
		"silence":            {"hang", "", fault.StepTimeout, "no sign of life", "no sign of life of boot for 2s: killing it"},
		"silence later":      {"live:1 hang", "", fault.StepTimeout, "no sign of life", "killing it"},
	} {
		t.Run(name, func(t *testing.T) {
			c, said := machine(t)
			if strings.Contains(test.does, "live") || test.does == "hang" {
				c.Limits.Silence = 2 * time.Second
			}
			role(t, "boot", test.does)
			verdict, crash := c.child([]string{"boot"}, nil)
			if crash == nil && verdict.Action != test.action || (crash == nil) != (test.class == "") {
				t.Fatalf("%+v, %+v", verdict, crash)
			}
			if crash != nil && (crash.Class != test.class || !strings.Contains(crash.Detail, test.detail)) {
				t.Errorf("%+v", crash)
			}
			if !strings.Contains(said.String(), test.said) || test.said == "" && said.Len() > 0 {
				t.Errorf("said %q", said)
			}
		})
	}
}

// A verdict counts that came, with the end of its child, before anybody looked.
func TestVerdictOfAChildThatHasEnded(t *testing.T) {
	c, _ := machine(t)
	role(t, "boot", `say:{"action":"retry"} end`)
	ch, err := c.start([]string{"boot"}, nil)
	must(t, err)
	ended(t, ch.pid)
	if verdict, crash := c.outcome(ch); crash != nil || verdict.Action != Retry {
		t.Errorf("%+v, %+v", verdict, crash)
	}
}

// The flow control of consoles is taken off again for each child, and a program
// that is not there is told.
func TestChildIsStarted(t *testing.T) {
	c, _ := machine(t)
	stopped := 0
	c.NoFlowControl = func() func() { stopped++; return func() {} }
	role(t, "boot", `say:{"action":"retry"} end`)
	c.Exe = "/no/such/file" // the initramfs is empty: /proc has the program yet
	for range 2 {
		if _, crash := c.child([]string{"boot"}, nil); crash != nil {
			t.Error(crash)
		}
	}
	if stopped != 2 {
		t.Errorf("%d times", stopped)
	}
	c.Exe = "/proc/version"
	if _, crash := c.child([]string{"boot"}, nil); crash == nil || crash.Class != fault.Exec || !strings.Contains(crash.Detail, "/proc/version as boot") {
		t.Errorf("%+v", crash)
	}
}

// What the boot leaves is acted on, and what it does not say is the rescue's to
// ask.
func TestBoot(t *testing.T) {
	for name, test := range map[string]struct {
		boot, rescue string
		want         Action
		told         string // to the rescue
	}{
		"a verdict":             {`say:{"action":"power-off"} end`, "", PowerOff, ""},
		"a crash":               {"exit:2", `say:{"action":"retry"} end`, Retry, "panic|boot panicked; its trace is on the console"},
		"no stage 2":            {`say:{"action":"hand-over"} end`, `say:{"action":"reboot"} end`, Reboot, "handover|the boot asked for a hand-over and named no stage 2"},
		"a stage 2 not to dare": {`say:{"action":"hand-over","stage2":{"root":"/tmp","init":"/init"}} end`, `say:{"action":"retry"} end`, Retry, "handover|refused to leave the initramfs: nothing is mounted at /tmp"},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := machine(t)
			role(t, "boot", test.boot)
			role(t, "rescue", test.rescue)
			if v := c.boot(); v.Action != test.want {
				t.Errorf("%+v", v)
			}
			if test.told != "" && saw(t, "rescue") != test.told {
				t.Errorf("the rescue was told %q", saw(t, "rescue"))
			}
		})
	}
}

// The last rescue knows what it is given, and starts nothing any more.
func TestLastRescue(t *testing.T) {
	for says, want := range map[Action]Action{Retry: Reboot, Shell: Reboot, HandOver: Reboot, Reboot: Reboot, PowerOff: PowerOff, Panic: Panic} {
		c, said := machine(t)
		role(t, "rescue", `say:{"action":"`+string(says)+`"} end`)
		if v := c.lastRescue(Crash{fault.Exec, "execute /init: exec format error"}, []byte(`{"console":"x"}`)); v.Action != want {
			t.Errorf("%s became %s", says, v.Action)
		}
		if got := saw(t, "rescue"); got != `exec|execute /init: exec format error|last|{"console":"x"} <nil>` {
			t.Errorf("it saw %q", got)
		}
		if !strings.Contains(said.String(), "the boot ended (exec)") {
			t.Errorf("said %q", said)
		}
	}
}

// A verdict fits into a pipe, or is an error.
func TestVerdictIsEncoded(t *testing.T) {
	text, err := Verdict{Action: Panic, Reason: "a\nb"}.Encode()
	if err != nil || strings.Count(string(text), "\n") != 1 || text[len(text)-1] != '\n' {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := (Verdict{Reason: strings.Repeat("x", maxVerdict)}).Encode(); err == nil {
		t.Error("a verdict that no pipe holds")
	}
}
