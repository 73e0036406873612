package stage1

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"netstage/stage1/cmdline"
)

func TestPolicy(t *testing.T) {
	closed := Policy{NoShell: true, RequireVouched: true}
	for text, want := range map[string]struct {
		policy Policy
		err    string
	}{
		`{"version":1}`: {},
		`{"version":1,"shell":"cmdline","verify":"warn"}`: {},
		`{"version":1,"shell":"never"}`:                   {policy: Policy{NoShell: true}},
		`{"version":1,"verify":"required"}`:               {policy: Policy{RequireVouched: true}},
		`{"version":2,"shell":"Never","verify":"yes"}`:    {closed, `version 2: want 1; shell "Never": want "cmdline" or "never"; verify "yes": want`},
		`{"version":1,"passwordHash":"$6$x$y"}`:           {closed, "passwordHash"},
		`{"version":1}{"version":1}`:                      {closed, "more than one"},
		`{"version":1,"shell":`:                           {closed, "unexpected EOF"},
		``:                                                {closed, "EOF"},
	} {
		file := filepath.Join(t.TempDir(), "policy.json")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := loadPolicy(file)
		if got != want.policy {
			t.Errorf("%s: %+v, want %+v", text, got, want.policy)
		}
		if (err == nil) != (want.err == "") || err != nil && !strings.Contains(strings.ReplaceAll(err.Error(), "\n", "; "), want.err) {
			t.Errorf("%s: %v, want %q", text, err, want.err)
		}
	}
	if p, err := loadPolicy(filepath.Join(t.TempDir(), "none")); p != (Policy{}) || err != nil {
		t.Errorf("no file: %+v, %v", p, err)
	}
}

// Whatever the command line asks for, a policy without shells leaves none.
func TestPolicyLimitsTheCommandLine(t *testing.T) {
	c, err := ParseConfig(cmdline.Parse("boot.shell_on_fail boot.debug1 boot.debug1devices boot.debug1mounts boot.break=image"))
	if err != nil || !c.ShellOnFail || len(c.Breaks) != 4 {
		t.Fatalf("%+v, %v", c, err)
	}
	Policy{NoShell: true}.limit(&c)
	if c.ShellOnFail || len(c.Breaks) > 0 || strings.Join(c.Refused, " ") != "boot.shell_on_fail breakpoints" {
		t.Errorf("%v, %v, %q", c.ShellOnFail, c.Breaks, c.Refused)
	}
}

func FuzzPolicy(f *testing.F) {
	f.Add([]byte(`{"version":1,"shell":"never","verify":"required"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if p, err := parsePolicy(text); err == nil && (p != Policy{}) && !strings.Contains(string(text), "ersion") && !strings.Contains(string(text), `\u`) {
			t.Errorf("%q: %+v without a version", text, p)
		}
	})
}
