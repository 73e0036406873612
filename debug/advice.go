package debug

import (
	"slices"
	"strings"
)

// AdviceFor returns what to do about a class of failure, most likely remedy
// first. A class it doesn't know gets advice that always holds.
func AdviceFor(class string) []string {
	if a := advice(class); a != nil {
		return a
	}
	switch {
	case strings.HasPrefix(class, "http-4"):
		return slices.Clone(advice("http-404"))
	case strings.HasPrefix(class, "http-"):
		return []string{
			"The server answered with an error of its own: read its error log first.",
			"Ask it yourself: curl -I URL from a machine in the same network.",
			"If a proxy or load balancer stands in front, ask what is behind it.",
		}
	}
	return []string{
		"Read the kernel log (d): the first error there is often the cause.",
		"Boot with boot.trace to see each action, or boot.break=STEP to stop before it.",
		"Note class, step and cause before rebooting.",
	}
}

// advice is the table, in three parts: switches, so that nothing is built
// before it is asked for.
func advice(class string) []string {
	for _, part := range []func(string) []string{networkAdvice, imageAdvice, machineAdvice} {
		if a := part(class); a != nil {
			return a
		}
	}
	return nil
}

// Classes are the classes that have advice of their own. Any http-NNN has it
// too.
func Classes() []string {
	return []string{
		"no-nic", "no-driver", "no-carrier", "no-lease", "no-route", "dns", "refused", "timeout", "reset", "tls",
		"tls-date", "http-404", "tftp", "redirect", "bad-range", "encoding", "protocol", "changed", "too-large", "stalled",
		"short", "mismatch", "manifest", "signature", "policy", "no-memory", "no-space", "store", "no-init", "panic",
		"internal", "killed", "step-timeout", "failed", "cancelled", "bad-parameter", "bad-url", "no-image", "bad-image", "mount",
		"no-filesystem", "verity", "no-device", "fsck", "fsck-reboot", "module", "no-module", "exec", "handover", "breakpoint",
	}
}
