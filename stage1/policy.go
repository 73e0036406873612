package stage1

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// policyFile is a file of the initrd that limits what the command line may ask for. It is JSON:
//
//	{"version": 1, "shell": "cmdline" | "never", "verify": "required" | "warn"}
//
// The two may be left out: "cmdline" and "warn".
const policyFile = "/etc/netstage/policy.json"

// Policy is what the makers of the initrd decided. No parameter loosens it.
type Policy struct {
	NoShell        bool // neither breakpoints nor shells on failure
	RequireVouched bool // an image that nothing vouches for is refused
}

// loadPolicy reads the file. Without one everything is allowed; one that can't be understood allows nothing.
func loadPolicy(file string) (Policy, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Policy{}, nil
	}
	if err == nil {
		var p Policy
		if p, err = parsePolicy(text); err == nil {
			return p, nil
		}
	}
	return Policy{NoShell: true, RequireVouched: true}, fmt.Errorf("the initrd's policy %s: %w", policyFile, err)
}

func parsePolicy(text []byte) (Policy, error) {
	var p struct {
		Version       int
		Shell, Verify string
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields() // a rule that is not understood is not kept
	if err := d.Decode(&p); err != nil {
		return Policy{}, err
	}
	if _, err := d.Token(); err != io.EOF {
		return Policy{}, errors.New("more than one JSON value")
	}
	var wrong []error
	if p.Version != 1 {
		wrong = append(wrong, fmt.Errorf("version %d: want 1", p.Version))
	}
	if p.Shell != "" && p.Shell != "cmdline" && p.Shell != "never" {
		wrong = append(wrong, fmt.Errorf(`shell %q: want "cmdline" or "never"`, p.Shell))
	}
	if p.Verify != "" && p.Verify != "warn" && p.Verify != "required" {
		wrong = append(wrong, fmt.Errorf(`verify %q: want "warn" or "required"`, p.Verify))
	}
	return Policy{NoShell: p.Shell == "never", RequireVouched: p.Verify == "required"}, errors.Join(wrong...)
}

// limit takes back what the policy does not allow, and names it.
func (p Policy) limit(c *Config) {
	c.Policy = p
	if !p.NoShell {
		return
	}
	if c.ShellOnFail {
		c.Refused = append(c.Refused, "boot.shell_on_fail")
	}
	if len(c.Breaks) > 0 {
		c.Refused = append(c.Refused, "breakpoints")
	}
	c.ShellOnFail, c.Breaks = false, map[string]bool{}
}
