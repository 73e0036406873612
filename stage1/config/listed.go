package config

import (
	"slices"
	"strings"

	"netstage/stage1/cmdline"
)

// carried are the parameters that boot loaders add by themselves: GRUB, and
// pxelinux by SYSAPPEND.
var carried = []string{"initrd", "BOOT_IMAGE", "BOOTIF", "SYSUUID", "CPU"}

// listed are the parameters that neither run nor mount anything of their
// sender's, and take no protection of what is booted away: those of the agent
// that lead to an image, which something has to vouch for, those about the
// network, and the kernel's about hardware and messages (Documentation/
// admin-guide/kernel-parameters.txt). Each of the agent's own is named, so that
// a new one is thought about.
var listed = slices.Concat(carried, []string{
	// The agent's; each is among heeds, too.
	"rootfs", "rootfs.base", "rootfs.sha256", "rootfs.roothash", "roothash", "rootfs.verity", "rootfs.verity.mount",
	"rootfs.manifest", "rootfs.manifest.name", "rootfs.manifest.keys", "rootfs.manifest.newer", "rootfs.stream", "rootfs.stream.timeout", "rootfs.stream.keep",
	"rootfs.ca", "rootfs.proxy", "rootfs.token", "rootfs.floor", "rootfs.cache",
	"init", "root", "findiso", "copytoram",
	"ip", "ifname", "nameserver", "rd.route", "vlan", "bond", "bootdev", "rd.bootif", "rd.iscsi.ibft", "rd.neednet",
	"boot.dhcp.hostname", "boot.dhcp.user-class", "boot.network", "boot.network_timeout",
	"boot.debug1", "debug1", "boot.debug1devices", "boot.debug1mounts", "boot.break", "boot.shell_on_fail", "boot.ssh",
	"boot.trace", "debugtrace", "boot.debugtrace", "boot.check", "boot.fail_timeout", "boot.panic_on_fail", "stage1panic",
	"boot.log", "boot.report", "boot.watchdog",
	// Consoles and messages.
	"console", "earlycon", "earlyprintk", "loglevel", "quiet", "debug", "ignore_loglevel", "log_buf_len", "printk.*", "no_console_suspend",
	"video", "vga", "fbcon", "nomodeset", "logo.nologo", "vt.*", "consoleblank", "splash", "systemd.show_status", "systemd.log_level", "systemd.log_target",
	// What the machine is made of.
	"acpi", "acpi.*", "acpi_osi", "acpi_os_name", "acpi_rev_override", "acpi_irq_*", "acpi_sleep", "acpi_backlight", "acpi_enforce_resources",
	"acpi_force_*", "acpi_no_*", "acpi_skip_timer_override", "acpi_use_timer_override", "acpi_cpufreq.*",
	"apic", "noapic", "nolapic", "clocksource", "tsc", "hpet", "notsc", "pci", "pcie_*", "pci_aspm",
	"iommu", "iommu.strict", "iommu.passthrough", "intel_iommu", "amd_iommu", "intel_idle.*", "intel_pstate", "amd_pstate", "amd_pstate.*",
	"processor.*", "idle", "nohlt", "cpuidle.*", "cpufreq.*", "maxcpus", "nr_cpus", "possible_cpus", "nosmt", "mitigations", "numa", "numa_balancing",
	"isolcpus", "nohz", "nohz_full", "rcu_nocbs", "rcu_nocb_poll", "rcupdate.*", "rcutree.*", "irqaffinity", "threadirqs", "preempt", "skew_tick",
	"hugepages", "hugepagesz", "default_hugepagesz", "transparent_hugepage", "mem", "crashkernel", "cma", "swiotlb", "zswap.*", "psi",
	"reboot", "panic", "panic_on_oops", "oops", "nmi_watchdog", "nowatchdog", "watchdog_thresh", "softlockup_panic", "hung_task_panic",
	"random.trust_cpu", "random.trust_bootloader", "elevator", "edd", "efi_pstore.*", "pstore.*",
	"usbcore.autosuspend", "usbcore.old_scheme_first", "usbcore.quirks", "usb-storage.*", "i915.*", "nvme_core.*", "ixgbe.allow_unsupported_sfp", "e1000.eeprom_bad_csum_allow",
	// How stage 2 names and counts.
	"net.ifnames", "biosdevname", "ipv6.disable", "cgroup_enable", "cgroup_disable", "systemd.unified_cgroup_hierarchy", "fsck.mode", "rootflags", "rootfstype", "ro", "rw",
})

// heeds are the parameters that the agent reads.
var heeds = []string{
	"rootfs", "rootfs.*", "roothash", "init", "root", "findiso", "copytoram", "boot.*", "debug1", "debugtrace", "stage1panic", "console",
	"ip", "ifname", "nameserver", "rd.*", "vlan", "bond", "team", "bridge", "bootdev", "BOOTIF",
}

// limits are what listed parameters may say, of those with values that have the
// kernel write to an address of their sender's: in memory, or of a port.
var limits = map[string]func(value string) bool{
	"console":     isConsole,
	"earlycon":    func(value string) bool { return value == "efifb" },
	"earlyprintk": isEarlyConsole,
}

// harmless tells whether a listed parameter says what it may.
func harmless(p cmdline.Param) bool {
	limit := limits[strings.ReplaceAll(p.Key, "-", "_")]
	return limit == nil || !p.HasValue || limit(p.Value)
}

// isEarlyConsole tells whether early messages go to a screen, or to a serial
// port where it is on every machine.
func isEarlyConsole(value string) bool {
	name, options, _ := strings.Cut(value, ",")
	return slices.Contains([]string{"vga", "efi", "ttyS0", "ttyS1"}, name) && strings.Trim(strings.TrimSuffix(options, "keep"), "0123456789,") == ""
}

// isConsole tells whether a console is the name of a device, with its speed,
// and no address in memory or of a port: the kernel writes its log there.
func isConsole(value string) bool {
	name, options, _ := strings.Cut(value, ",")
	return name != "uart" && name != "uart8250" && strings.Trim(options, "0123456789noer") == ""
}
