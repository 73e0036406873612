package config

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"netstage/stage1/password"
)

// policyFile is a file of the initrd that limits what the command line may ask
// for. It is JSON:
//
//	{"version": 1, "shell": "cmdline" | "password" | "never", "verify": "required" | "warn", "cmdline": "any" | "listed" | "own" | [NAMES],
//	 "manifest": 1 | 2, "signatures": N, "rollback": "refused" | "required", "offline": "never" | "last-good", "offline_days": DAYS}
//
// All but the version may be left out: "cmdline", "warn", what defaultRule
// says, 1, 1, "refused", "never" and 30. "password" offers shells in the
// failure menu whatever the command line says, and every shell only to who
// knows the password.
const policyFile = "/etc/netstage/policy.json"

// passwordFile holds the hash of a password that every shell on a console asks
// for, where the file exists.
const passwordFile = "/etc/netstage/shell-password"

// Files of the initrd that say who is trusted: whoever makes the initrd decides
// what may be booted.
const (
	TrustedKeys = "/etc/netstage/trusted.d" // *.pub: who may sign manifests
	OwnCA       = "/etc/netstage/ca.pem"    // the only authorities for https, where it exists
)

// RegistryFile is a file of the initrd with logins for registries, as docker's
// config.json has them.
const RegistryFile = "/etc/netstage/registry.json"

// ReportToken has a bearer token for boot.report=, in the form of
// rootfs.token='s file.
const ReportToken = "/etc/netstage/report-token"

// tokenDir holds the files that rootfs.token= may name: a command line that
// comes from the network must not send any other file away.
const tokenDir = "/etc/netstage/"

// Policy is what the makers of the initrd decided. No parameter loosens it.
type Policy struct {
	NoShell        bool           // neither breakpoints nor shells on failure
	OfferShell     bool           // shells on failure without boot.shell_on_fail
	Password       *password.Hash // asked for before every shell on a console; nil: none
	WhyNoShell     string         // what is wrong with the password's hash
	RequireVouched bool           // an image that nothing vouches for is refused
	Cmdline        CmdlineRule    // what the kernel command line may hold
	Manifest       int            // the lowest version of a manifest's format; 0: any
	Signatures     int            // how many of the trusted keys have to sign; 0: one
	RequireMemory  bool           // a machine that can't remember a serial boots nothing that has one
	LastGood       bool           // without a server, the image of an earlier boot may be used
	LastGoodFor    time.Duration  // for so long after a server last had it
}

// lastGoodDays is how long the image of an earlier boot is good for, unless the
// policy says otherwise.
const lastGoodDays = 30

// LastGoodForEver is no limit, for machines without a clock, too.
const LastGoodForEver = 36500 * 24 * time.Hour

// loadPolicy reads the two files. Without them everything is allowed. A policy
// that can't be understood allows nothing, and ends the boot; without a
// password's hash that can be understood, where one is wanted, there is no
// shell.
func loadPolicy(file, passwordFile string) (Policy, error) {
	p, err := loadRules(file)
	hash, missing := loadPassword(passwordFile)
	switch {
	case p.NoShell:
		return p, err
	case missing == nil:
		p.Password = hash
	case !errors.Is(missing, fs.ErrNotExist) || p.OfferShell:
		p.NoShell, p.OfferShell, p.WhyNoShell = true, false, fmt.Sprintf("the password's hash %s: %v", passwordFile, missing)
	}
	return p, err
}

func loadPassword(file string) (*password.Hash, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	hash, err := password.Parse(text)
	return &hash, err
}

func loadRules(file string) (Policy, error) {
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
	return Policy{NoShell: true, RequireVouched: true, Cmdline: CmdlineRule{Kind: "any"}}, fmt.Errorf("the initrd's policy %s: %w", policyFile, err)
}

func parsePolicy(text []byte) (Policy, error) {
	var p struct {
		Version                int
		Shell, Verify, Offline string
		Cmdline                CmdlineRule
		OfflineDays            *int `json:"offline_days"`

		Manifest, Signatures *int
		Rollback             string
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
	if p.Shell != "" && p.Shell != "cmdline" && p.Shell != "password" && p.Shell != "never" {
		wrong = append(wrong, fmt.Errorf(`shell %q: want "cmdline", "password" or "never"`, p.Shell))
	}
	if p.Verify != "" && p.Verify != "warn" && p.Verify != "required" {
		wrong = append(wrong, fmt.Errorf(`verify %q: want "warn" or "required"`, p.Verify))
	}
	if p.Rollback != "" && p.Rollback != "refused" && p.Rollback != "required" {
		wrong = append(wrong, fmt.Errorf(`rollback %q: want "refused" or "required"`, p.Rollback))
	}
	within := func(name string, n *int, most int) int {
		switch {
		case n == nil:
			return 0
		case *n < 1 || *n > most:
			wrong = append(wrong, fmt.Errorf("%s %d: want 1 to %d", name, *n, most))
		}
		return *n
	}
	read := Policy{
		NoShell: p.Shell == "never", OfferShell: p.Shell == "password", RequireVouched: p.Verify == "required", Cmdline: p.Cmdline,
		Manifest: within("manifest", p.Manifest, 2), Signatures: within("signatures", p.Signatures, 16), RequireMemory: p.Rollback == "required",
	}
	if p.Offline != "" && p.Offline != "never" && p.Offline != "last-good" {
		wrong = append(wrong, fmt.Errorf(`offline %q: want "never" or "last-good"`, p.Offline))
	}
	days := cmp.Or(within("offline_days", p.OfflineDays, int(LastGoodForEver/(24*time.Hour))), lastGoodDays)
	if p.Offline == "last-good" {
		read.LastGood, read.LastGoodFor = true, time.Duration(days)*24*time.Hour
	}
	return read, errors.Join(wrong...)
}

// limit takes back what the policy does not allow, and names it.
func (p Policy) limit(c *Config) {
	c.Policy = p
	if !p.NoShell {
		c.ShellOnFail = c.ShellOnFail || p.OfferShell
		return
	}
	if c.ShellOnFail {
		c.Refused = append(c.Refused, "boot.shell_on_fail")
	}
	if len(c.Breaks) > 0 {
		c.Refused = append(c.Refused, "breakpoints")
	}
	if c.SSH {
		c.Refused = append(c.Refused, "boot.ssh")
	}
	c.ShellOnFail, c.SSH, c.Breaks = false, false, map[string]bool{}
}
