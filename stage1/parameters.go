package stage1

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"netstage/stage1/cmdline"
)

// ownParameters is a file of the initrd with kernel parameters of its own, separated by white space, in the kernel's
// quoting. They are defaults: the command line replaces them parameter by parameter. What they pin (init= and the
// image's digests) the command line can repeat and not change, rootfs.manifest.newer= it can only make later, and
// rootfs.verity.mount it can't take away.
const ownParameters = "/etc/netstage/cmdline"

// pins are the parameters of the initrd that the command line can't replace.
var pins = []string{"init", "rootfs.sha256", "rootfs.roothash", "roothash", "rootfs.manifest.newer", "rootfs.verity.mount"}

// LoadConfig reads the initrd's policy, its own parameters and the kernel command line. Errors and Config are those
// of ParseConfig.
func LoadConfig() (Config, error) {
	policy, wrong := loadPolicy(policyFile, passwordFile)
	config, err := loadParameters()
	policy.limit(&config)
	return config, complain(err, wrong, config.readTable(tableFile))
}

// complain puts complaints before those of err, which is nil or a *ParameterError. Nil ones are none.
func complain(err error, complaints ...error) error {
	complaints = slices.DeleteFunc(complaints, func(err error) bool { return err == nil })
	if len(complaints) == 0 {
		return err
	}
	var more *ParameterError
	if errors.As(err, &more) {
		complaints = append(complaints, more.Complaints...)
	}
	return &ParameterError{complaints}
}

func loadParameters() (Config, error) {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return defaultConfig(), err
	}
	own, err := os.ReadFile(ownParameters)
	if errors.Is(err, fs.ErrNotExist) {
		return ParseConfig(cmdline.Parse(string(line)))
	}
	if err != nil {
		// A pin that can't be read must not become no pin.
		config, _ := ParseConfig(cmdline.Parse(string(line)))
		return config, &ParameterError{[]error{fmt.Errorf("the initrd's own parameters: %w", err)}}
	}
	return loadConfig(cmdline.Parse(string(own)), cmdline.Parse(string(line)))
}

func loadConfig(own, line cmdline.Params) (Config, error) {
	params, wrong := merge(own, line)
	config, err := ParseConfig(params)
	config.OwnPersistence = len(line.All("boot.persistence")) == 0
	return config, complain(err, wrong...)
}

// merge puts the initrd's parameters before those of the command line, and leaves out what the command line replaces.
// Two digests that differ are found where the parameters are read; an init= that differs is left out, and complained
// of.
func merge(own, line cmdline.Params) (params cmdline.Params, wrong []error) {
	pinned, init := false, ""
	for _, p := range own {
		if slices.Contains(pins, p.Key) || !slices.ContainsFunc(line, func(other cmdline.Param) bool { return other.Key == p.Key }) {
			params = append(params, p)
		}
		if p.Key == "init" {
			pinned, init = true, p.Value
		}
	}
	for _, p := range line {
		if p.Key == "init" && pinned && p.Value != init {
			wrong = append(wrong, fmt.Errorf("init=%s: this initrd starts init=%s and nothing else (%s)", p.Value, init, ownParameters))
			continue
		}
		params = append(params, p)
	}
	return params, wrong
}
