package vm

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// paths are the files that QEMU is given besides those of the Config.
type paths struct {
	qmp    string // the control socket
	initrd string // the initrds, joined; "" for none
	esp    string // the folder that is the EFI system partition; "" for none
}

// qemu is the program that runs machines.
const qemu = "qemu-system-x86_64"

// arguments returns QEMU's command line.
func arguments(c Config, p plan, at paths, kvm bool, bootURL string) []string {
	// Without rdrand, getrandom blocks a second. A model with AVX2 is no gain: TCG
	// hashes by it at the same rate, and all else gets slower.
	machine, cpu := "pc", "qemu64,+rdrand"
	code, variables := c.firmware()
	if code != "" {
		machine = "q35"
	}
	if c.SecureBoot {
		machine += ",smm=on" // which keeps the system from the variables
	}
	if kvm {
		machine, cpu = machine+",accel=kvm", "host"
	}
	memory, cpus := c.Memory, c.CPUs
	if memory == 0 {
		memory = 2048
	}
	if cpus == 0 {
		cpus = 1
	}
	args := []string{qemu, "-machine", machine, "-cpu", cpu, "-m", strconv.Itoa(memory), "-smp", strconv.Itoa(cpus),
		"-nographic", "-serial", "mon:stdio", "-no-reboot", "-qmp", "unix:" + at.qmp + ",server=on,wait=off"}
	if code != "" {
		store := "if=pflash,format=raw,unit=1,file="
		if c.Variables == "" {
			store = "if=pflash,format=raw,unit=1,snapshot=on,file="
		} else {
			variables = c.Variables
		}
		args = append(args, "-drive", "if=pflash,format=raw,unit=0,readonly=on,file="+escape(code), "-drive", store+escape(variables))
	}
	if c.SecureBoot {
		args = append(args, "-global", "driver=cfi.pflash01,property=secure,value=on")
	}
	switch {
	case at.esp != "":
		args = append(args, "-drive", "if=none,id=esp,format=raw,readonly=on,file=fat:"+escape(at.esp), "-device", "virtio-blk-pci,drive=esp,bootindex=0")
	case c.Direct:
		args = append(args, "-kernel", c.Kernel)
		if at.initrd != "" {
			args = append(args, "-initrd", at.initrd)
		}
		args = append(args, "-append", directCmdline(c, p, bootURL))
	default:
		args = append(args, "-boot", "n")
	}
	for i, nic := range c.nics() {
		var forwards []Forward
		if i == 0 {
			forwards = c.Forwards
		}
		args = append(args, "-nic", nic.argument(i, bootURL, forwards))
	}
	if c.NoNIC {
		args = append(args, "-nic", "none")
	}
	if c.Direct {
		args = append(args, withoutROMs(c.nics())...)
	}
	for _, drive := range c.Drives {
		args = append(args, "-drive", drive)
	}
	return append(args, c.ExtraArgs...)
}

// directCmdline is the command line that iPXE would have passed on.
func directCmdline(c Config, p plan, bootURL string) string {
	b := *p.boot
	b.Initrds = nil
	b.Cmdline = parameters(c)
	if base, ok := strings.CutSuffix(bootURL, "boot.ipxe"); ok {
		b.Base = base
	}
	mac := ""
	if nics := c.nics(); len(nics) > 0 && !c.AnyNIC {
		mac = strings.ReplaceAll(nics[0].MAC, ":", "-")
	}
	return b.Arguments(mac)
}

func (c Config) nics() []NIC {
	if c.NoNIC {
		return nil
	}
	nics := c.NICs
	if nics == nil {
		nics = []NIC{{}}
	}
	filled := make([]NIC, len(nics))
	for i, nic := range nics {
		if nic.Model == "" {
			nic.Model = "virtio-net-pci"
		}
		if nic.MAC == "" {
			nic.MAC = fmt.Sprintf("52:54:00:12:34:%02x", 0x56+i)
		}
		filled[i] = nic
	}
	return filled
}

// argument is the value of -nic for the card of that index. Its name for
// set_link is nic and the index.
func (n NIC) argument(index int, bootURL string, forwards []Forward) string {
	backend := n.Backend
	if backend == "" {
		backend = "user"
		if bootURL != "" {
			backend += ",bootfile=" + escape(bootURL)
		}
		for _, f := range forwards {
			backend += fmt.Sprintf(",hostfwd=tcp:127.0.0.1:%d-:%d", f.Here, f.There)
		}
	}
	return fmt.Sprintf("%s,id=nic%d,model=%s,mac=%s", backend, index, n.Model, n.MAC)
}

// withROM are the models of cards that QEMU gives a ROM to boot by.
var withROM = []string{"virtio-net-pci", "e1000", "e1000e", "ne2k_pci", "pcnet", "rtl8139", "vmxnet3"}

// withoutROMs leaves the ROMs of the cards out, which take seconds to start.
func withoutROMs(nics []NIC) (args []string) {
	for _, model := range withROM {
		if slices.ContainsFunc(nics, func(n NIC) bool { return n.Model == model }) {
			args = append(args, "-global", model+".romfile=")
		}
	}
	return args
}

// escape doubles the commas of a value in QEMU's option syntax.
func escape(s string) string { return strings.ReplaceAll(s, ",", ",,") }
