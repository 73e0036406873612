package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"netstage/stage1/cmdline"
	"netstage/stage1/fault"
)

// CmdlineRule says which parameters the kernel command line may hold. Whoever
// owns the boot server writes that line, and stage 2 obeys it: systemd.run=
// alone is a root shell.
type CmdlineRule struct {
	Kind string   // "" (see defaultRule), "any", "listed" or "own"
	More []string // of "listed": further names, names with a value, or beginnings of names and a "*"
}

// UnmarshalJSON reads "any", "listed", "own", or a list of what is allowed
// besides the listed ones.
func (r *CmdlineRule) UnmarshalJSON(text []byte) error {
	if err := json.Unmarshal(text, &r.Kind); err == nil {
		if !slices.Contains([]string{"any", "listed", "own"}, r.Kind) {
			return fmt.Errorf(`cmdline %q: want "any", "listed", "own" or a list of parameters`, r.Kind)
		}
		return nil
	}
	if err := json.Unmarshal(text, &r.More); err != nil {
		return errors.New(`cmdline: want "any", "listed", "own" or a list of parameters`)
	}
	r.Kind = "listed"
	return checkPatterns(r.More)
}

// checkPatterns refuses what is neither a name, nor one with its value, nor the
// beginning of names.
func checkPatterns(patterns []string) error {
	for _, name := range patterns {
		stem := strings.TrimSuffix(name, "*")
		switch words := cmdline.Parse(name); {
		case len(words) == 1 && words[0].HasValue:
		case stem == "" || len(words) != 1 || strings.Contains(stem, "*"):
			return fmt.Errorf("cmdline %q: want a parameter's name, one with its value, or the beginning of one and a *", name)
		}
	}
	return nil
}

// allows tells whether a parameter of the command line may be there.
func (r CmdlineRule) allows(p cmdline.Param, own cmdline.Params) bool {
	if r.Kind == "any" || slices.Contains(own, p) {
		return true
	}
	in := func(names []string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return matches(name, p) })
	}
	return in(carried) || r.Kind == "listed" && (in(r.More) || in(listed) && harmless(p))
}

// matches compares names as the kernel does, which takes - for _.
func matches(pattern string, p cmdline.Param) bool {
	key := p.Key
	if strings.Contains(pattern, "=") {
		want := cmdline.Parse(pattern)[0]
		if !p.HasValue || p.Value != want.Value {
			return false
		}
		pattern = want.Key
	}
	pattern, key = strings.ReplaceAll(pattern, "-", "_"), strings.ReplaceAll(key, "-", "_")
	if stem, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(key, stem)
	}
	return key == pattern
}

// split sorts what the rule does not allow: what ends the boot, and what is
// left to a manifest that is still to come. That may allow more where the rule
// is "own", but nothing that the agent heeds, which would have had its effect;
// and less where it is "any".
func (r CmdlineRule) split(own, line cmdline.Params, manifest bool) (refused, beyond cmdline.Params) {
	rule := r
	if r.Kind == "any" {
		rule.Kind = "listed"
	}
	for i, p := range line {
		if i == 0 && namesKernel(p) || rule.allows(p, own) {
			continue
		}
		heeded := slices.ContainsFunc(heeds, func(name string) bool { return matches(name, p) })
		switch {
		case r.Kind == "any" || r.Kind == "own" && manifest && !heeded:
			beyond = append(beyond, p)
		default:
			refused = append(refused, p)
		}
	}
	return refused, beyond
}

// CheckCmdline refuses what of the command line neither the initrd nor a
// manifest allows, by its patterns. A manifest without any leaves it to the
// initrd.
func (c Config) CheckCmdline(patterns []string) error {
	if c.Policy.Cmdline.Kind == "any" && patterns == nil {
		return nil
	}
	if err := checkPatterns(patterns); err != nil {
		return fault.Errorf(fault.Manifest, "manifest: %w", err)
	}
	return refuse(slices.DeleteFunc(slices.Clone(c.Beyond), func(p cmdline.Param) bool {
		return slices.ContainsFunc(patterns, func(name string) bool { return matches(name, p) })
	}))
}

// refuse names parameters that are not allowed, all of them.
func refuse(params cmdline.Params) error {
	if len(params) == 0 {
		return nil
	}
	var names []string
	for _, p := range params {
		names = append(names, p.Key)
	}
	return fault.Errorf(fault.Policy, "the initrd's policy does not allow %s: allow it by \"cmdline\" in %s, or give it in %s",
		strings.Join(names, ", "), policyFile, OwnParameters)
}

// namesKernel tells whether a word is the file name of what was started, which
// UEFI's load options begin with by custom: iPXE puts it there.
func namesKernel(p cmdline.Param) bool {
	name := p.Key[strings.LastIndexAny(p.Key, `/\`)+1:]
	for _, stem := range []string{"vmlinuz", "bzImage", "Image", "linux", "kernel"} {
		if rest, ok := strings.CutPrefix(name, stem); ok && !p.HasValue && (rest == "" || rest[0] == '-') {
			return true
		}
	}
	return !p.HasValue && strings.HasSuffix(strings.ToLower(name), ".efi")
}

// defaultRule is the rule where the policy has none: machines that want to know
// what they boot take listed parameters only.
func defaultRule(root string, p Policy, own cmdline.Params) CmdlineRule {
	if wantsVouching(root, p, own) {
		return CmdlineRule{Kind: "listed"}
	}
	return CmdlineRule{Kind: "any"}
}

// wantsVouching tells whether the initrd wants that something vouches for what
// is booted: by its policy, by a key, or by what it pins.
func wantsVouching(root string, p Policy, own cmdline.Params) bool {
	return p.RequireVouched || trusts(root) || slices.ContainsFunc(own, func(p cmdline.Param) bool { return says[p.Key] == pins || artifactOf(p) != "" })
}

// trusts tells whether the initrd has keys that manifests are to be signed by.
func trusts(root string) bool {
	keys, _ := filepath.Glob(filepath.Join(root, TrustedKeys, "*.pub"))
	return len(keys) > 0
}

// refuseInit keeps init= of the command line from being a shell where the
// policy allows none: of what the image holds, it starts a file called init.
// An init= of the initrd's, or the manifest's, is another matter.
func (p Policy) refuseInit(own, line cmdline.Params) error {
	init, given := line.Last("init")
	if _, pinned := own.Last("init"); !p.NoShell || !given || pinned || path.Base(init) == "init" {
		return nil
	}
	return fault.Errorf(fault.Policy, "init=%s: the initrd's policy allows no shell, so that only a file called init is started; give it in %s", init, OwnParameters)
}
