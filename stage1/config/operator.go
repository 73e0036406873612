package config

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"netstage/stage1/cmdline"
	"netstage/stage1/heartbeat"
)

// readOperator reads a parameter that is about who looks on, and what they may
// do.
func (c *Config) readOperator(p cmdline.Param, complain func(string, ...any)) {
	switch p.Key {
	case "console":
		if name, _, _ := strings.Cut(p.Value, ","); name != "" && name != "null" {
			c.Console = name
		}
	case "boot.debug1", "debug1":
		c.Breaks["modules"] = true
	case "boot.debug1devices":
		c.Breaks["network"] = true
	case "boot.debug1mounts":
		c.Breaks["handover"] = true
	case "boot.break":
		if !slices.Contains(c.breakable, p.Value) {
			complain("boot.break=%s: want one of %s", p.Value, strings.Join(c.breakable, ", "))
		}
		c.Breaks[p.Value] = true
	case "boot.shell_on_fail":
		c.ShellOnFail = true
	case "boot.ssh":
		c.SSH = true
	case "boot.panic_on_fail":
		c.PanicOnFail = true
	case "stage1panic":
		c.PanicOnFail = c.PanicOnFail || p.Value == "1"
	case "boot.watchdog":
		w, ok := heartbeat.Parse(p.Value)
		if !ok {
			complain("boot.watchdog=%s: want 5 to 3600 seconds, or 0 for none; then, if you like, ,keep and ,softdog", p.Value)
		}
		c.Watchdog = w
	case "boot.check":
		c.Check = true
	case "boot.trace", "debugtrace":
		c.Trace = true
	case "boot.fail_timeout":
		readSeconds(&c.FailTimeout, p, complain)
	}
}

// readSeconds reads a time in whole seconds; d stays as it is where there is
// none.
func readSeconds(d *time.Duration, p cmdline.Param, complain func(string, ...any)) {
	n, err := strconv.ParseUint(p.Value, 10, 31)
	if err != nil {
		complain("%s=%s: want a number of seconds, 0 for ever", p.Key, p.Value)
		return
	}
	*d = time.Duration(n) * time.Second
}
