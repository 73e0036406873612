package initrd

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"netstage/stage1/kmod"
	"netstage/stage1/modindex"
)

// alwaysModules is what a boot needs whatever the NIC: the image's loop device
// and file systems, packet sockets for DHCP, and the bus of every virtual
// machine's devices; and the firmware's memory of failed boots. Each may be
// built in, or not exist in a kernel.
var alwaysModules = []string{"efivarfs", "tpm_tis", "tpm_crb", "loop", "squashfs", "erofs", "overlay", "af_packet", "virtio_pci", "virtio_mmio"}

// nicFolders and nicDrivers are the drivers of NICs that the kernel has. Those
// from elsewhere are known by what they use (foreignNICs).
var (
	nicFolders = []string{
		"drivers/net/ethernet/", "drivers/net/usb/", "drivers/net/hyperv/", "drivers/net/vmxnet3/", "drivers/net/fjes/",
	}
	nicDrivers = []string{"virtio_net", "xen_netfront"}
)

// partFolders hold what NICs ask for by alias while they start: PHYs, MDIO
// buses, PCS. stackModules sit on NICs (vlan=, bond=) or tell of them.
var (
	partFolders  = []string{"drivers/net/phy/", "drivers/net/mdio/", "drivers/net/pcs/"}
	stackModules = []string{"bonding", "8021q", "iscsi_ibft"}
)

// imageModules are for images that are mounted through dm-verity
// (rootfs.verity.mount) or used while they come (rootfs.stream): 160 and 60 kB.
var imageModules = []string{"dm_verity", "nbd"}

// busFolders and busModules bring up the buses that NICs are on and that are
// not their dependencies: USB controllers, PCI passed through by Hyper-V. A USB
// keyboard is for the failure menu.
var (
	busFolders = []string{"drivers/usb/host/"}
	busModules = []string{"pci_hyperv", "usbhid", "hid_generic"}
)

// diskFolders and diskModules drive disks: what nixpkgs has in
// boot.initrd.availableKernelModules by default. The RAM disk that UEFI makes
// of an ISO image fetched by HTTP is an NVDIMM. Each may not exist in a kernel.
// Other controllers are known by what they are for (diskControllers).
var (
	diskFolders = []string{"drivers/ata/", "drivers/nvme/host/", "drivers/usb/storage/", "drivers/mmc/host/", "drivers/virtio/", "drivers/ufs/"}
	diskModules = []string{
		"sd_mod", "sr_mod", "mmc_block", "virtio_blk", "hv_storvsc", "xen_blkfront", "mptfc", "vmd", "virtio_pmem", "nfit", "nd_pmem",
	}
	controllerFolders = []string{"drivers/scsi/", "drivers/message/fusion/", "drivers/block/"}
)

// fileSystemModules are what a file system takes besides the module of its
// name, without naming it as a dependency.
var fileSystemModules = map[string][]string{
	"vfat": {"vfat", "nls_cp437", "nls_iso8859_1", "nls_ascii", "nls_utf8"}, "iso9660": {"isofs"}, "ext2": {"ext4"}, "ext3": {"ext4"},
	"ext4": {"ext4", "crc32c_generic"}, "btrfs": {"btrfs", "crc32c_generic"}, "xfs": {"xfs", "crc32c_generic"}, "f2fs": {"f2fs", "crc32c_generic"},
	"exfat": {"exfat"}, "ntfs": {"ntfs3"}, "nfs": {"nfs", "nfsv3", "nfsv4"}, "nfs4": {"nfs", "nfsv4"},
}

// choice is what Options.Modules asks for.
type choice struct {
	narrow, add, drop []string
	maybe             []string // added where the kernel has them
}

func parseChoice(words []string) (choice, error) {
	var c choice
	for _, w := range words {
		name := strings.TrimLeft(w, "+-?")
		if name == "" || len(w)-len(name) > 1 {
			return c, fmt.Errorf("module %q: give NAME, +NAME, ?NAME or -NAME", w)
		}
		switch w[0] {
		case '+':
			c.add = append(c.add, name)
		case '?':
			c.maybe = append(c.maybe, name)
		case '-':
			c.drop = append(c.drop, modindex.Name(name))
		default:
			c.narrow = append(c.narrow, name)
		}
	}
	return c, nil
}

// roots returns the modules asked for, without what they need, and those asked
// for that are built in.
func (t *tree) roots(ctx context.Context, o Options) (names, builtin []string, err error) {
	c, err := parseChoice(o.Modules)
	if err != nil {
		return nil, nil, err
	}
	_, inKernel := t.builtin()
	for _, name := range alwaysModules {
		if t.paths[name] != "" {
			names = append(names, name)
		} else if inKernel[name] {
			builtin = append(builtin, name)
		}
	}
	for _, name := range append(slices.Clone(c.narrow), c.add...) {
		found, err := t.lookup(ctx, name)
		switch {
		case err != nil:
			return nil, nil, err
		case len(found) > 0:
			names = append(names, found...)
		case inKernel[modindex.Name(name)]:
			builtin = append(builtin, modindex.Name(name))
		default:
			return nil, nil, fmt.Errorf("module %s: not in %s, neither as a module nor built in: check the name, or give the modules of another kernel", name, t.dir)
		}
	}
	for _, name := range c.maybe {
		found, err := t.lookup(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		names = append(names, found...)
	}
	if len(c.narrow) == 0 {
		nics, err := t.nics(ctx)
		if err != nil {
			return nil, nil, err
		}
		names = append(names, nics...)
		names = append(names, t.below(partFolders)...)
		names = append(names, t.present(stackModules)...)
		names = append(names, t.present(imageModules)...)
		names = append(names, t.below(busFolders)...)
		names = append(names, t.present(busModules)...)
	}
	if o.Disks {
		controllers, err := t.diskControllers(ctx)
		if err != nil {
			return nil, nil, err
		}
		names = append(append(append(names, t.below(diskFolders)...), t.present(diskModules)...), controllers...)
		names = append(names, t.below(busFolders)...)
	}
	for _, kind := range o.FileSystems {
		modules, known := fileSystemModules[kind]
		if !known {
			modules = []string{modindex.Name(kind)}
		}
		present := t.present(modules)
		if names = append(names, present...); len(present) == 0 {
			if !inKernel[modules[0]] {
				return nil, nil, fmt.Errorf("file system %s: no module %s in %s, nor is it built in: check the name, or give the modules of another kernel", kind, modules[0], t.dir)
			}
			builtin = append(builtin, modules[0])
		}
	}
	names = slices.DeleteFunc(names, func(n string) bool { return slices.Contains(c.drop, n) })
	slices.Sort(names)
	return slices.Compact(names), builtin, nil
}

// nics returns the drivers of NICs.
func (t *tree) nics(ctx context.Context) ([]string, error) {
	foreign, err := t.foreignNICs(ctx)
	names := append(append(t.below(nicFolders), t.present(nicDrivers)...), foreign...)
	slices.Sort(names)
	return slices.Compact(names), err
}

// ofKernel tells whether a module lies where the kernel's own build puts it.
func ofKernel(path string) bool {
	parts := strings.Split(filepath.ToSlash(path), "/")
	return parts[0] == "kernel" && len(parts) > 1 && slices.Contains([]string{
		"arch", "block", "crypto", "drivers", "fs", "io_uring", "ipc", "kernel", "lib", "mm", "net", "rust", "samples", "security", "sound", "virt",
	}, parts[1])
}

// foreign are the modules that are not the kernel's own.
func (t *tree) foreign() (names []string) {
	for name, path := range t.paths {
		if !ofKernel(path) {
			names = append(names, name)
		}
	}
	return names
}

// which returns those of names that are something.
func (t *tree) which(ctx context.Context, names []string, is func(*module) bool) (those []string, err error) {
	slices.Sort(names)
	modules, err := t.get(ctx, slices.Compact(names))
	for _, m := range modules {
		if is(m) {
			those = append(those, m.Name)
		}
	}
	return those, err
}

// foreignNICs returns those modules that are not the kernel's own and register
// devices of a network for hardware on a bus, and are not for radio.
func (t *tree) foreignNICs(ctx context.Context) ([]string, error) {
	return t.which(ctx, t.foreign(), (*module).isNIC)
}

// diskControllers returns the drivers of disk controllers: the kernel's own by
// where they lie, others by what they register.
func (t *tree) diskControllers(ctx context.Context) ([]string, error) {
	own, err := t.which(ctx, t.below(controllerFolders), (*module).isController)
	if err != nil {
		return nil, err
	}
	foreign, err := t.which(ctx, t.foreign(), func(m *module) bool {
		return m.isController() && (m.imports["scsi_add_host_with_dma"] || m.imports["device_add_disk"])
	})
	return append(own, foreign...), err
}

// sans are what drivers build on whose disks are on a network of their own:
// they are large, and want a configuration besides.
var sans = []string{"scsi_transport_fc", "scsi_transport_iscsi", "libfc", "libiscsi"}

// isController tells whether a module is for a card, of disks at hand.
func (m *module) isController() bool {
	return m.onBus("pci", "virtio", "vmbus", "xen") &&
		!slices.ContainsFunc(m.Depends, func(name string) bool { return slices.Contains(sans, name) })
}

// onBus tells whether a module is for hardware on one of the buses.
func (m *module) onBus(buses ...string) bool {
	return slices.ContainsFunc(m.Aliases, func(alias string) bool {
		bus, _, _ := strings.Cut(alias, ":")
		return slices.Contains(buses, bus)
	})
}

func (m *module) isNIC() bool {
	registers := m.imports["register_netdev"] || m.imports["register_netdevice"] || m.imports["usbnet_probe"]
	radio := m.imports["wiphy_new_nm"] || m.imports["ieee80211_alloc_hw_nm"]
	return m.onBus(kmod.NetworkBuses...) && registers && !radio
}

func (t *tree) present(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return t.paths[n] == "" })
}

func (t *tree) below(folders []string) []string {
	var names []string
	for name, places := range t.places {
		if slices.ContainsFunc(places, func(path string) bool {
			return slices.ContainsFunc(folders, func(f string) bool { return strings.Contains(path, "/"+f) })
		}) {
			names = append(names, name)
		}
	}
	return names
}
