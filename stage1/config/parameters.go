package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"netstage/fetch/ref"
	"netstage/stage1/cmdline"
)

// OwnParameters is a file of the initrd with kernel parameters of its own,
// separated by white space, in the kernel's quoting. They are defaults: the
// command line replaces them parameter by parameter. What they pin (init= and
// the image's digests) the command line can repeat and not change,
// rootfs.manifest.newer= it can only make later, and rootfs.verity.mount it
// can't take away.
const OwnParameters = "/etc/netstage/cmdline"

// A say is what the command line may do about a parameter that the initrd has,
// too.
type say int

const (
	replaces say = iota // it holds instead of the initrd's
	joins               // both are read, and the stricter holds
	pins                // likewise; and to have it says that it matters what is booted
	yields              // the initrd's holds
)

// says tells what may loosen what. A parameter that is not in it replaces.
var says = map[string]say{
	"init":                  pins, // it may be repeated, or be a specialisation
	"rootfs.sha256":         pins,
	"rootfs.roothash":       pins,
	"roothash":              pins,
	"rootfs.manifest.newer": pins,
	"rootfs.manifest.name":  pins,
	"rootfs.manifest.keys":  pins, // all are mirrors, and signed
	"rootfs.verity.mount":   joins,
	"rootfs.ca":             yields,
	"rootfs.token":          yields,
	"boot.persistence.opt":  yields, // options of the initrd's disk are as good as what is on it
}

// Load reads the initrd's policy, its own parameters and the kernel command
// line, from the files below root. What it returns is that of Parse.
func Load(root string, breakable []string) (Config, []error) {
	policy, err := loadPolicy(filepath.Join(root, policyFile), filepath.Join(root, passwordFile))
	wrong := []error{err}
	own, line, err := readParameters(root)
	wrong = append(wrong, err)
	if policy.Cmdline.Kind == "" {
		policy.Cmdline = defaultRule(root, policy, own)
	}
	c, more := combine(own, line, breakable)
	refused, beyond := policy.Cmdline.split(own, line, len(c.Manifest) > 0 && trusts(root))
	c.Beyond = beyond
	wrong = append(wrong, refuse(refused), policy.refuseInit(own, line))
	c.Vouching = wantsVouching(root, policy, own)
	policy.limit(&c)
	wrong = append(wrong, c.readTable(filepath.Join(root, tableFile)))
	return c, slices.DeleteFunc(append(wrong, more...), func(err error) bool { return err == nil })
}

// readParameters reads the initrd's own parameters, which it need not have, and
// the kernel command line.
func readParameters(root string) (own, line cmdline.Params, err error) {
	text, err := os.ReadFile(filepath.Join(root, "proc/cmdline"))
	if err != nil {
		return nil, nil, err
	}
	// The line break that /proc adds is no part of a last word with an open
	// quote.
	line = cmdline.Parse(strings.TrimSuffix(string(text), "\n"))
	text, err = os.ReadFile(filepath.Join(root, OwnParameters))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, line, nil
	case err != nil: // a pin that can't be read must not become no pin
		return nil, line, fmt.Errorf("the initrd's own parameters: %w", err)
	}
	return cmdline.Parse(string(text)), line, nil
}

func combine(own, line cmdline.Params, breakable []string) (Config, []error) {
	params, wrong := merge(said(own), said(line))
	c, more := Parse(params, breakable)
	c.OwnPersistence = len(own.All("boot.persistence")) > 0 && len(line.All("boot.persistence")) == 0
	return c, append(wrong, more...)
}

// merge puts the initrd's parameters before those of the command line, and
// leaves out what the command line replaces. Two digests that differ are found
// where the parameters are read; an init= that differs is left out, and
// complained of, and so is a rootfs= that is not the artifact of a digest in
// the initrd's.
func merge(own, line cmdline.Params) (params cmdline.Params, wrong []error) {
	pinned, init, artifact := false, "", ""
	for _, p := range own {
		if says[p.Key] != replaces || !has(line, p.Key) {
			params = append(params, p)
		}
		if p.Key == "init" {
			pinned, init = true, p.Value
		}
		if digest := artifactOf(p); digest != "" {
			artifact = digest
		}
	}
	for _, p := range line {
		if says[p.Key] == yields && has(own, p.Key) {
			continue
		}
		if p.Key == "init" && pinned && p.Value != init && !specialisationOf(init, p.Value) {
			wrong = append(wrong, fmt.Errorf("init=%s: this initrd starts init=%s and nothing else (%s)", p.Value, init, OwnParameters))
			continue
		}
		if p.Key == "rootfs" && artifact != "" && artifactOf(p) != artifact {
			wrong = append(wrong, fmt.Errorf("rootfs=%s: this initrd boots the artifact sha256:%s and nothing else (%s)", ref.Redacted(p.Value), artifact, OwnParameters))
			continue
		}
		params = append(params, p)
	}
	return params, wrong
}

// artifactOf is the digest of the artifact that a rootfs= names, which vouches
// for all that is in it. It is empty where there is none.
func artifactOf(p cmdline.Param) string {
	if p.Key != "rootfs" {
		return ""
	}
	l, err := ref.Parse(p.Value)
	if err != nil {
		return ""
	}
	return l.Artifact().Digest
}

func has(params cmdline.Params, key string) bool {
	return slices.ContainsFunc(params, func(p cmdline.Param) bool { return p.Key == key })
}

// specialisationOf tells whether other is the init of a specialisation of
// NixOS that is part of the toplevel of init, and so as good as that.
func specialisationOf(init, other string) bool {
	dir, file := path.Split(init)
	name, ok := strings.CutPrefix(other, dir+"specialisation/")
	name, last, _ := strings.Cut(name, "/")
	return ok && name != "" && name != "." && name != ".." && last == file
}
