// Package config is what a boot is asked for: by the initrd, its policy and its
// own parameters, and by the kernel command line.
package config

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"netstage/fetch/pace"
	"netstage/fetch/ref"
	"netstage/mount"
	"netstage/netup/ipparam"
	"netstage/stage1/cmdline"
	"netstage/stage1/fault"
	"netstage/stage1/heartbeat"
)

// Config is what the kernel command line asks for. The zero value of a field
// is its default.
type Config struct {
	Init          string             // stage 2, inside the new root; "/init" by default
	WantInit      bool               // init= was given
	Rootfs        []ref.Location     // mirrors of one image
	SHA256        []byte             // the image's digest; nil: not pinned
	RootHash      []byte             // of the image's verity tree; nil: not pinned
	Verity        []ref.Location     // mirrors of the tree; nil: beside the image
	MountVerity   bool               // rootfs.verity.mount: dm-verity verifies what is read
	OnCorruption  string             // of mount.Verity
	Stream        bool               // rootfs.stream: the image is used while it comes
	OnDemand      bool               // only what is read comes
	StreamTimeout time.Duration      // rootfs.stream.timeout=, of a read; 0: none
	StreamKeep    int64              // rootfs.stream.keep=, bytes of the image in memory; 0: all that was read
	Manifest      []ref.Location     // mirrors of the signed manifest
	Newer         time.Time          // rootfs.manifest.newer=: older manifests are refused
	Name          string             // rootfs.manifest.name=: manifests of others are refused
	KeyLists      []ref.Location     // rootfs.manifest.keys=: mirrors of a list of who may sign
	Base          ref.Location       // rootfs.base=
	Proxy         string             // rootfs.proxy=, for http and https; may hold a password
	CA            string             // rootfs.ca=, a file of the initrd
	Token         string             // rootfs.token=, a file of the initrd
	LowSpeed      pace.LowSpeedLimit // rootfs.floor=
	Cache         ref.Location       // rootfs.cache=, of images; it needs no trust
	CacheDisk     ref.Location       // rootfs.cache.disk=: the disk with the images of earlier boots

	Root           string        // root=: the disk with the image, where rootfs= names none
	FindISO        string        // findiso=: an ISO image on any disk, instead
	CopyToRAM      bool          // copytoram
	Persistence    string        // boot.persistence=: the disk that replaces the tmpfs
	PersistenceOpt string        // boot.persistence.opt=
	OwnPersistence bool          // boot.persistence= is the initrd's own
	FileSystems    []mount.Entry // of the initrd, besides the image

	Console string // the interactive console's device name; "tty1" by default
	Breaks  map[string]bool

	Policy      Policy         // of the initrd
	Vouching    bool           // the initrd wants that something vouches for what is booted
	Beyond      cmdline.Params // of the command line: what the initrd does not allow, and a manifest may
	Refused     []string       // what the command line asked for and the policy forbids
	ShellOnFail bool
	PanicOnFail bool
	Trace       bool
	SSH         bool          // shells over the network
	Check       bool          // everything but the switch to stage 2
	FailTimeout time.Duration // 0: for ever
	ReportTo    string        // boot.report=, a URL
	Watchdog    heartbeat.Watchdog
	LogTo       string // boot.log=, host:port of a syslog collector
	KeepNetwork bool
	WantNetwork bool // ip= was given
	Network     ipparam.Config
	UserClass   string // boot.dhcp.user-class=
	HostName    string // boot.dhcp.hostname=, for DHCP servers
	// NetworkTimeout is how long the network is waited for; 0: for ever.
	NetworkTimeout time.Duration

	Modules cmdline.Params // parameters that drivers may look for: module.name=value

	breakable []string // the steps that boot.break= may name
}

// LocalImage is the image of the all-in-one format, part of the initrd.
const LocalImage = "/nix-store.squashfs"

// NewRoot is where the new root is mounted.
const NewRoot = "/mnt-root"

// Complaint is everything that is wrong with the command line and the initrd's
// configuration in one error, nil where nothing is.
func Complaint(wrong []error) error {
	if len(wrong) == 0 {
		return nil
	}
	err, class := errors.Join(wrong...), fault.Policy
	for _, e := range wrong {
		if fault.ClassOf(e) != fault.Policy {
			class = fault.BadParameter
		}
	}
	return &fault.Error{Class: class, Text: "kernel command line: " + strings.ReplaceAll(err.Error(), "\n", "; "), Cause: err}
}

// readers each know the parameters of one matter, and leave others alone.
var readers = []func(c *Config, p cmdline.Param, complain func(string, ...any)){
	(*Config).readStage2, (*Config).readImage, (*Config).readStream, (*Config).readOperator, (*Config).readReport, (*Config).readNetwork, (*Config).readStorage,
}

// Default is the Config of a machine without a command line.
func Default() Config {
	return Config{Init: "/init", Console: "tty1", FailTimeout: time.Minute, Breaks: map[string]bool{}}
}

// Parse reads the parameters that are known; it leaves others alone. It returns
// all complaints, and the Config is then what could be understood: enough to
// show a failure screen. A breakpoint may be before the steps named breakable.
func Parse(params cmdline.Params, breakable []string) (Config, []error) {
	c := Default()
	c.breakable = breakable
	c.Modules = params
	var wrong []error
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }

	for _, p := range params {
		if word := p.Key + "=" + p.Value; strings.ContainsFunc(word, unicode.IsControl) {
			complain("%q: a parameter with control characters: what reads it next may take it for several lines", word)
			continue
		}
		for _, read := range readers {
			read(&c, p, complain)
		}
	}
	network, err := ipparam.Parse(ipparam.Params{
		IP: params.All("ip"), IBFT: params.All("rd.iscsi.ibft"), BootIF: params.All("BOOTIF"), RdBootIF: params.All("rd.bootif"), BootDev: params.All("bootdev"), NameServer: params.All("nameserver"),
		Route: params.All("rd.route"), IfName: params.All("ifname"),
		VLAN: params.All("vlan"), Bond: params.All("bond"), Team: params.All("team"), Bridge: params.All("bridge"),
	})
	if c.Network = network; err != nil {
		wrong = append(wrong, err)
	}
	c.checkImage(complain)
	c.checkStream(complain)
	return c, wrong
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

// readNetwork reads a parameter that is about the network; package ipparam
// reads those that say how it is set up.
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
	case "boot.dhcp.hostname":
		if c.HostName = p.Value; !isHostName(p.Value) {
			c.HostName = ""
			complain("boot.dhcp.hostname=%s: want at most 63 letters, digits, dashes and underscores", p.Value)
		}
	case "boot.network":
		if c.KeepNetwork = p.Value == "keep"; !c.KeepNetwork {
			complain(`boot.network=%s: want "keep", or nothing at all`, p.Value)
		}
	}
}

// isHostName tells whether s is what NixOS takes for networking.hostName.
func isHostName(s string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	return s != "" && len(s) <= 63 && strings.Trim(s, letters+"-_") == "" && strings.Trim(s[:1]+s[len(s)-1:], letters) == ""
}
