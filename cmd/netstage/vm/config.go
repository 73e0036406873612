// Package vm boots machines in QEMU the way machines on a network boot: through
// the iPXE ROM of their network card, from an HTTP server. It gives the caller
// the serial console and QEMU's own control channel.
package vm

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"netstage/cmd/netstage/image"
	"netstage/cmd/netstage/netboot"
)

// Config describes a machine and what it boots.
type Config struct {
	Kernel  string   // path of the kernel
	Initrds []string // paths, loaded in this order
	// Image is the path of the system image, served over HTTP and named by
	// rootfs=; "" when an initrd holds it. A digest beside it, Image +
	// ".sha256", becomes rootfs.sha256=, or the root hash of a verity tree,
	// Image + ".roothash", rootfs.roothash=, unless Unverified is set.
	Image      string
	Unverified bool
	Init       string // init= unless ""
	// Append is put at the end of the kernel's command line.
	Append string
	// Plain makes Append, and initrd=, the whole command line.
	Plain bool

	Memory int // MiB; 0 means 2048
	CPUs   int // 0 means 1
	// NICs are the network cards, one virtio-net-pci when nil. The first is
	// the one to boot from.
	NICs []NIC
	// NoNIC leaves the machine without a network card.
	NoNIC bool
	// UEFI boots OVMF on q35 instead of SeaBIOS on an i440FX.
	UEFI bool
	// EFI is the path of a UEFI program, such as a unified kernel image, that
	// the firmware starts from an EFI system partition. It implies UEFI.
	EFI string
	// SecureBoot has the firmware start only what the owner of ovmf's snakeoil
	// key signed. It implies UEFI.
	SecureBoot bool
	// Variables is the file that UEFI firmware keeps its variables in, made
	// where it is missing; "" has them gone when the machine is off.
	Variables string
	// Direct has QEMU load kernel and initrds, without iPXE and without the ROMs
	// of network cards.
	Direct bool
	// AnyNIC leaves BOOTIF= out of a Direct boot, which else names the first
	// network card, as iPXE names the one that it booted from.
	AnyNIC bool
	// BootURL, when set, is the script or program that DHCP names, instead of
	// the one of a server of its own, which then isn't started.
	BootURL string
	// Dir, when set, is served besides the files above; without a Kernel it
	// is what the machine boots from, as by netstage serve.
	Dir string
	// Wrap, when set, stands between the machine and the HTTP server, to
	// inject faults or to watch.
	Wrap func(http.Handler) http.Handler
	// Forwards are ports of this host's loopback that lead to ports of the
	// machine, by its first network card.
	Forwards []Forward
	// Drives are values of QEMU's -drive.
	Drives []string
	// ExtraArgs are added to QEMU's command line.
	ExtraArgs []string

	// Console receives all that the serial console prints; nil for none.
	Console io.Writer
	// Input is typed at the serial console; nil for nothing. Start doesn't
	// wait for reads from it to return.
	Input io.Reader
	// Access receives the HTTP server's access log; nil for none.
	Access io.Writer
	// Log receives warnings; nil for none.
	Log *slog.Logger
}

// A Forward leads from a TCP port here to one of the machine's.
type Forward struct{ Here, There uint16 }

func (f Forward) String() string { return fmt.Sprintf("%d:%d", f.Here, f.There) }

// A NIC is a network card.
type NIC struct {
	Model string // of QEMU: virtio-net-pci, e1000, …
	MAC   string // "" leaves it to QEMU
	// Backend is the value of QEMU's -nic up to the model: "user", QEMU's own
	// network, when "". The server of the machine is on it.
	Backend string
}

// host is this host's address in QEMU's own network.
const host = "10.0.2.2"

// plan is what becomes of a Config's files.
type plan struct {
	files map[string]string // for the HTTP server: paths by names
	boot  *netboot.Boot     // nil: from Dir, or BootURL
}

// newPlan chooses the names under which the files are served, and decides on
// the command line.
func newPlan(c Config) (plan, error) {
	if c.EFI != "" {
		if err := readable(c.EFI); err != nil {
			return plan{}, err
		}
	}
	if c.Kernel == "" {
		if c.Direct || c.Dir == "" && c.BootURL == "" && c.EFI == "" {
			return plan{}, errors.New("no kernel is given")
		}
		return plan{}, nil
	}
	p := plan{files: make(map[string]string), boot: &netboot.Boot{}}
	for _, path := range append([]string{c.Kernel}, c.Initrds...) {
		if err := readable(path); err != nil {
			return plan{}, err
		}
	}
	p.boot.Kernel = p.add(c.Kernel)
	for _, initrd := range c.Initrds {
		p.boot.Initrds = append(p.boot.Initrds, p.add(initrd))
	}
	p.boot.Plain = c.Plain
	if c.Image != "" {
		if err := readable(c.Image); err != nil {
			return plan{}, err
		}
		p.boot.Image = p.add(c.Image)
		if !c.Unverified {
			digest, err := image.ReadDigest(c.Image)
			if err != nil {
				return plan{}, err
			}
			p.boot.SHA256 = digest
			if p.boot.RootHash, err = image.ReadRootHash(c.Image); err != nil {
				return plan{}, err
			}
			if p.boot.RootHash != "" {
				p.files[p.boot.Image+".verity"] = c.Image + ".verity"
				if _, err := os.Stat(c.Image + ".hot"); err == nil {
					p.files[p.boot.Image+".hot"] = c.Image + ".hot"
				}
			}
		}
	}
	return p, nil
}

// parameters are the kernel parameters that don't depend on the files.
func parameters(c Config) string {
	var words []string
	if !c.Plain {
		// Without a reboot after a panic the machine would hang.
		words = append(words, "console=ttyS0", "panic=-1")
		if c.Init != "" {
			words = append(words, "init="+c.Init)
		}
	}
	return strings.Join(append(words, strings.Fields(c.Append)...), " ")
}

// readable proves that a file can be served: a machine could not say why not.
func readable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", path)
	}
	return err
}

// add gives a file a name of its own that scripts can hold.
func (p plan) add(path string) string {
	name := strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' || strings.ContainsRune(`/:?#%&$"'\`, r) {
			return '-'
		}
		return r
	}, filepath.Base(path))
	unique := name
	for i := 2; p.files[unique] != ""; i++ {
		unique = strconv.Itoa(i) + "-" + name
	}
	p.files[unique] = path
	return unique
}
