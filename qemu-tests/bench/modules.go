package bench

// bareModules are all that a boot needs on the benchmark's machine.
var bareModules = []string{"failover", "net_failover", "virtio_net", "loop", "squashfs", "overlay"}

// nixosModules are the boot.initrd.availableKernelModules of a NixOS netboot
// initrd that Debian's cloud kernel has as modules: nixpkgs' defaults
// (kernel.nix), the profiles all-hardware.nix and qemu-guest.nix, netboot.nix.
// The script does not load them; udev does where the hardware is there.
var nixosModules = []string{
	"ahci", "ata_piix", "sd_mod", "sr_mod",
	"hid_generic", "hid_lenovo", "hid_apple", "hid_microsoft", "hid_cherry",
	"virtio_net", "virtio_blk", "virtio_scsi", "virtio_mmio",
	"hv_storvsc", "hv_vmbus", "hv_netvsc", "hv_utils", "hv_balloon", "hyperv_keyboard",
	"vmw_pvscsi", "vmxnet3", "xen_blkfront", "xen_netfront",
	"squashfs", "overlay",
}

// nixosLoad are the boot.initrd.kernelModules of the same: those that the
// script loads, one by one.
var nixosLoad = []string{"dm_mod", "virtio_balloon", "virtio_rng", "loop", "overlay"}
