package stage1

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"netstage/fetch"
	"netstage/mount"
	"netstage/netup/ipparam"
	"netstage/stage1/cmdline"
)

// Config is what the kernel command line asks for. The zero value of a field
// is its default.
type Config struct {
	Init         string      // stage 2, inside the new root; "/init" by default
	WantInit     bool        // init= was given
	Rootfs       []fetch.Ref // mirrors of one image
	SHA256       []byte      // the image's digest; nil: not pinned
	RootHash     []byte      // of the image's verity tree; nil: not pinned
	Verity       []fetch.Ref // mirrors of the tree; nil: beside the image
	MountVerity  bool        // rootfs.verity.mount: dm-verity verifies what is read
	OnCorruption string      // of mount.Verity
	Manifest     []fetch.Ref // mirrors of the signed manifest
	Newer        time.Time   // rootfs.manifest.newer=: older manifests are refused
	Base         string      // rootfs.base=
	Proxy        string      // rootfs.proxy=, for http and https; may hold a password
	CA           string      // rootfs.ca=, a file of the initrd
	Token        string      // rootfs.token=, a file of the initrd
	Floor        fetch.Floor // rootfs.floor=

	Root           string        // root=: the disk with the image, where rootfs= names none
	FindISO        string        // findiso=: an ISO image on any disk, instead
	CopyToRAM      bool          // copytoram
	Persistence    string        // boot.persistence=: the disk that replaces the tmpfs
	PersistenceOpt string        // boot.persistence.opt=
	OwnPersistence bool          // boot.persistence= is the initrd's own
	FileSystems    []mount.Entry // of the initrd, besides the image

	Console string // the interactive console's device name; "tty1" by default
	Breaks  map[string]bool

	Policy      Policy   // of the initrd
	Refused     []string // what the command line asked for and the policy forbids
	ShellOnFail bool
	PanicOnFail bool
	Trace       bool
	SSH         bool          // shells over the network
	Check       bool          // everything but the switch to stage 2
	FailTimeout time.Duration // 0: for ever
	ReportTo    string        // boot.report=, a URL
	Watchdog    Watchdog
	LogTo       string // boot.log=, host:port of a syslog collector
	KeepNetwork bool
	WantNetwork bool // ip= was given
	Network     ipparam.Config
	UserClass   string // boot.dhcp.user-class=
	// NetworkTimeout is how long the network is waited for; 0: for ever.
	NetworkTimeout time.Duration

	Modules cmdline.Params // parameters that drivers may look for: module.name=value
}

// localImage is the image of the all-in-one format, part of the initrd.
const localImage = "/nix-store.squashfs"

// A ParameterError lists everything that is wrong with the command line. Its
// class is "bad-parameter".
type ParameterError struct{ Complaints []error }

func (e *ParameterError) Error() string {
	return "kernel command line: " + strings.ReplaceAll(errors.Join(e.Complaints...).Error(), "\n", "; ")
}

// Class names the failure for operators.
func (*ParameterError) Class() string { return "bad-parameter" }

// readers each know the parameters of one matter, and leave others alone.
var readers = []func(c *Config, p cmdline.Param, complain func(string, ...any)){
	(*Config).readStage2, (*Config).readImage, (*Config).readOperator, (*Config).readReport, (*Config).readNetwork, (*Config).readStorage,
}

func defaultConfig() Config {
	return Config{Init: "/init", Console: "tty1", FailTimeout: time.Minute, Breaks: map[string]bool{}}
}

// ParseConfig reads the parameters of DESIGN's table; it leaves unknown ones
// alone. The error is a *ParameterError with all complaints, and the Config
// is then what could be understood: enough to show a failure screen.
func ParseConfig(params cmdline.Params) (Config, error) {
	c := defaultConfig()
	c.Modules = params
	var wrong []error
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }

	for _, p := range params {
		for _, read := range readers {
			read(&c, p, complain)
		}
	}
	network, err := ipparam.Parse(ipparam.Params{
		IP: params.All("ip"), IBFT: params.All("rd.iscsi.ibft"), BootIF: params.All("BOOTIF"), RdBootIF: params.All("rd.bootif"), BootDev: params.All("bootdev"), NameServer: params.All("nameserver"),
		Route: params.All("rd.route"), IfName: params.All("ifname"),
		VLAN: params.All("vlan"), Bond: params.All("bond"),
	})
	if c.Network = network; err != nil {
		wrong = append(wrong, err)
	}
	c.checkImage(complain)
	if len(wrong) > 0 {
		return c, &ParameterError{wrong}
	}
	return c, nil
}

// readStage2 reads a parameter that is about what is started in the new root.
func (c *Config) readStage2(p cmdline.Param, complain func(string, ...any)) {
	switch p.Key {
	case "init":
		c.WantInit = true
		if c.Init = p.Value; !strings.HasPrefix(p.Value, "/") {
			complain("init=%s: want an absolute path inside the image", p.Value)
		}
	}
}

// readNetwork reads a parameter that is about the network; package ipparam reads those that say how it is set up.
func (c *Config) readNetwork(p cmdline.Param, complain func(string, ...any)) {
	switch p.Key {
	case "ip":
		c.WantNetwork = true
	case "boot.network_timeout":
		readSeconds(&c.NetworkTimeout, p, complain)
	case "boot.dhcp.user-class":
		if c.UserClass = p.Value; len(p.Value) == 0 || len(p.Value) > 254 { // its length is a byte of an option's
			c.UserClass = ""
			complain("boot.dhcp.user-class=%s: want a text of at most 254 bytes", p.Value)
		}
	case "boot.network":
		if c.KeepNetwork = p.Value == "keep"; !c.KeepNetwork {
			complain(`boot.network=%s: want "keep", or nothing at all`, p.Value)
		}
	}
}
