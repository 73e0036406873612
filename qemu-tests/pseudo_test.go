package qemutests

import (
	"testing"

	"netstage/qemu-tests/nsmachine"
)

// What the command line says of failures holds from the first step on, and what
// the initrd's policy forbids, too. A file in the place of /run fails it.
func TestFirstStepFails(t *testing.T) {
	t.Parallel()
	files := func(more ...string) map[string]string {
		all := map[string]string{"/run": "no folder"}
		for i := 0; i < len(more); i += 2 {
			all[more[i]] = more[i+1]
		}
		return all
	}
	const failed = "pseudo (1/8): failed"
	for name, s := range map[string]scenario{
		"its countdown": {cmdline: "boot.fail_timeout=7", story: []step{shows("Reboot in 7 s"), types("r")}},
		"a panic": {
			cmdline: "boot.panic_on_fail", ends: ending{nsmachine.Panicked, []string{"!Keys: ", "!stage 2: pid 1"}},
			kmsg: []string{"<1>stage-1-init: boot.panic_on_fail: ", "!<1>unmount"},
		},
		"a shell":            {cmdline: "boot.shell_on_fail", story: []step{shows("Keys: i shell"), types("r")}},
		"no shell unasked":   {story: []step{shows("Keys: r reboot"), types("r")}},
		"the initrd forbids": {files: files("/etc/netstage/policy.json", `{"version":1,"shell":"never"}`), cmdline: "boot.shell_on_fail", story: []step{shows("Keys: r reboot"), types("r")}},
		"the initrd's own":   {files: files("/etc/netstage/cmdline", "boot.fail_timeout=9\n"), story: []step{shows("Reboot in 9 s"), types("r")}},
	} {
		if s.files == nil {
			s.files = files()
		}
		if s.ends.end == "" {
			s.ends = rebooted
		}
		s.shown = append(s.shown, "/run")
		s.kmsg = append(s.kmsg, failed)
		t.Run(name, s.run)
	}
}
