package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestPolicy(t *testing.T) {
	closed := Policy{NoShell: true, RequireVouched: true, Cmdline: CmdlineRule{Kind: "any"}}
	none := filepath.Join(t.TempDir(), "none")
	for text, want := range map[string]struct {
		policy Policy
		err    string
	}{
		`{"version":1}`: {},
		`{"version":1,"shell":"cmdline","verify":"warn"}`:                 {},
		`{"version":1,"shell":"never"}`:                                   {policy: Policy{NoShell: true}},
		`{"version":1,"verify":"required"}`:                               {policy: Policy{RequireVouched: true}},
		`{"version":1,"cmdline":"own"}`:                                   {policy: Policy{Cmdline: CmdlineRule{Kind: "own"}}},
		`{"version":1,"cmdline":["a","b.*"]}`:                             {policy: Policy{Cmdline: CmdlineRule{Kind: "listed", More: []string{"a", "b.*"}}}},
		`{"version":1,"manifest":2,"signatures":2,"rollback":"required"}`: {policy: Policy{Manifest: 2, Signatures: 2, RequireMemory: true}},
		`{"version":1,"manifest":3}`:                                      {closed, "manifest 3: want 1 to 2"},
		`{"version":1,"signatures":0}`:                                    {closed, "signatures 0: want 1 to 16"},
		`{"version":1,"rollback":"no"}`:                                   {closed, `rollback "no": want "refused" or "required"`},
		`{"version":1,"offline":"last-good"}`:                             {policy: Policy{LastGood: true, LastGoodFor: 30 * 24 * time.Hour}},
		`{"version":1,"offline":"last-good","offline_days":3}`:            {policy: Policy{LastGood: true, LastGoodFor: 72 * time.Hour}},
		`{"version":1,"offline":"never","offline_days":3}`:                {},
		`{"version":1,"offline":"yes"}`:                                   {closed, `offline "yes": want "never" or "last-good"`},
		`{"version":1,"offline":"last-good","offline_days":0}`:            {closed, "offline_days 0: want 1 to 36500"},
		`{"version":1,"offline":"last-good","offline_days":-1}`:           {closed, "offline_days -1: want 1 to 36500"},
		`{"version":1,"cmdline":"all"}`:                                   {closed, `cmdline "all": want "any"`},
		`{"version":1,"cmdline":["*"]}`:                                   {closed, `cmdline "*": want a parameter's name`},
		`{"version":1,"cmdline":{}}`:                                      {closed, `cmdline: want "any"`},
		`{"version":2,"shell":"Never","verify":"yes"}`:                    {closed, `version 2: want 1; shell "Never": want "cmdline", "password" or "never"; verify "yes": want`},
		`{"version":1,"passwordHash":"$6$x$y"}`:                           {closed, "passwordHash"},
		`{"version":1}{"version":1}`:                                      {closed, "more than one"},
		`{"version":1,"shell":`:                                           {closed, "unexpected EOF"},
		``:                                                                {closed, "EOF"},
	} {
		file := filepath.Join(t.TempDir(), "policy.json")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := loadPolicy(file, none)
		if !reflect.DeepEqual(got, want.policy) {
			t.Errorf("%s: %+v, want %+v", text, got, want.policy)
		}
		if (err == nil) != (want.err == "") || err != nil && !strings.Contains(strings.ReplaceAll(err.Error(), "\n", "; "), want.err) {
			t.Errorf("%s: %v, want %q", text, err, want.err)
		}
	}
	if p, err := loadPolicy(none, none); !reflect.DeepEqual(p, Policy{}) || err != nil {
		t.Errorf("no file: %+v, %v", p, err)
	}
}

// A shell asks for the password whose hash the initrd holds; without a hash
// that can be understood, where one is wanted, there is no shell.
func TestPasswordOfTheInitrd(t *testing.T) {
	const (
		good = "$6$s$mBpQSh5Xa/usXqc7jwVUfAj8i4y4ttoy7dsa99UmkPTdvlWKqC5hRCsvYqlqmq8Ztg9XA7uuBCulnBeR3WK23/\n"
		none = "\x00"
	)
	for _, test := range []struct {
		policy, hash   string
		shell, ask     bool   // with boot.shell_on_fail
		unasked        bool   // a shell without it
		breaks         bool   // boot.debug1 stops
		complaint, err string // of the hash, of the policy
	}{
		{policy: none, hash: none, shell: true, breaks: true},
		{policy: none, hash: good, shell: true, breaks: true, ask: true},
		{policy: none, hash: "secret\n", complaint: "no hash of a known kind"},
		{policy: none, hash: "", complaint: "no password hash"},
		{policy: `{"version":1,"shell":"cmdline"}`, hash: good, shell: true, breaks: true, ask: true},
		{policy: `{"version":1,"shell":"password"}`, hash: good, shell: true, breaks: true, ask: true, unasked: true},
		{policy: `{"version":1,"shell":"password"}`, hash: none, complaint: "no such file"},
		{policy: `{"version":1,"shell":"password"}`, hash: "$6$", complaint: "sha512-crypt"},
		{policy: `{"version":1,"shell":"never"}`, hash: good},
		{policy: `{"version":1,"shell":"sometimes"}`, hash: good, err: "sometimes"},
	} {
		dir := t.TempDir()
		for name, text := range map[string]string{"policy.json": test.policy, "shell-password": test.hash} {
			if text == none {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		p, err := loadPolicy(filepath.Join(dir, "policy.json"), filepath.Join(dir, "shell-password"))
		if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%+v: %v", test, err)
		}
		if (p.WhyNoShell == "") != (test.complaint == "") || !strings.Contains(p.WhyNoShell, test.complaint) {
			t.Errorf("%+v: complaint %q", test, p.WhyNoShell)
		}
		asked, err := parse("boot.shell_on_fail boot.debug1")
		if err != nil {
			t.Fatal(err)
		}
		p.limit(&asked)
		plain := Default()
		p.limit(&plain)
		if asked.ShellOnFail != test.shell || plain.ShellOnFail != test.unasked || (asked.Policy.Password != nil) != test.ask || asked.Breaks["modules"] != test.breaks {
			t.Errorf("%+v: shell %v, without being asked for %v, password %v, breaks %v", test, asked.ShellOnFail, plain.ShellOnFail, (asked.Policy.Password != nil), asked.Breaks)
		}
		if p.Password != nil && !p.Password.Matches([]byte("s")) {
			t.Errorf("%+v: the password does not match", test)
		}
	}
}

// Whatever the command line asks for, a policy without shells leaves none.
func TestPolicyLimitsTheCommandLine(t *testing.T) {
	c, err := parse("boot.shell_on_fail boot.ssh boot.debug1 boot.debug1devices boot.debug1mounts boot.break=image")
	if err != nil || !c.ShellOnFail || !c.SSH || len(c.Breaks) != 4 {
		t.Fatalf("%+v, %v", c, err)
	}
	Policy{NoShell: true}.limit(&c)
	if c.ShellOnFail || c.SSH || len(c.Breaks) > 0 || strings.Join(c.Refused, " ") != "boot.shell_on_fail breakpoints boot.ssh" {
		t.Errorf("%v, %v, %q", c.ShellOnFail, c.Breaks, c.Refused)
	}
}

func FuzzPolicy(f *testing.F) {
	f.Add([]byte(`{"version":1,"shell":"never","verify":"required"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if p, err := parsePolicy(text); err == nil && (!reflect.DeepEqual(p, Policy{})) && !strings.Contains(string(text), "ersion") && !strings.Contains(string(text), `\u`) {
			t.Errorf("%q: %+v without a version", text, p)
		}
	})
}
