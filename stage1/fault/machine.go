package fault

// Classes of the machine, its kernel and the agent itself.
const (
	Panicked     Class = "panic"         // the boot process panicked
	Internal     Class = "internal"      // a fault of this program
	Killed       Class = "killed"        // the boot process was killed
	StepTimeout  Class = "step-timeout"  // a step reached its limit
	BadParameter Class = "bad-parameter" // a mistake on the kernel command line
	Mount        Class = "mount"         // the kernel refused a mount
	Module       Class = "module"        // the kernel refused a module
	NoModule     Class = "no-module"     // a module that the initrd lacks
	NoFilesystem Class = "no-filesystem" // a type that this kernel can't mount
	Handover     Class = "handover"      // PID 1 could not switch the root
	Failed       Class = "failed"        // an error without a class
	Breakpoint   Class = "breakpoint"    // no failure: somebody looks around
	Verity       Class = "verity"        // dm-verity can't be set up
	NoDevice     Class = "no-device"     // no such disk
	Fsck         Class = "fsck"          // the check wants a person
	FsckReboot   Class = "fsck-reboot"   // mended, and to be rebooted
	Exec         Class = "exec"          // stage 2 could not be started
)

var machine = []advice{
	{Panicked, []string{
		"A fault in stage 1 itself, not in your set-up. The trace is in the kernel log (d): please report it, with the command line.",
		"Retry: it may need a rare order of events. If it is always the same, boot the previous initrd.",
	}},
	{Internal, []string{
		"A fault in stage 1 itself, not in your set-up. Please report the line above, with the command line and the kernel log (d).",
		"Retry: it may need a rare order of events. If it is always the same, boot the previous initrd.",
	}},
	{Killed, []string{
		"Something killed the boot process. Look for \"Out of memory\" in the kernel log (d): then the image is too large for this machine.",
		"A machine check or \"segfault\" there: bad memory; run a memory test.",
		"Nothing there: somebody did it from a shell.",
	}},
	{StepTimeout, []string{
		"The step neither worked nor failed in its time: what it waited for stands in the last lines.",
		"Slow hardware that comes late (RAID, USB, 10G cards) often makes it at the second attempt: retry.",
		"In the kernel log (d) look for \"blocked for more than\" and for resets.",
	}},
	{BadParameter, []string{
		"Correct the kernel command line in the boot script; all complaints are above, not only the first.",
		"An ampersand, a blank or a quote inside a value needs quotes around the whole parameter: \"rootfs=http://...\".",
		"What the kernel really got: cat /proc/cmdline in the shell.",
	}},
	{Mount, []string{
		"The kernel's own reason is in its log (d), just above the failure.",
		"\"unknown filesystem\" or \"no such device\": squashfs, erofs, loop or overlay is missing from the initrd's modules.",
		"\"Invalid argument\" on squashfs: the image uses a compressor this kernel lacks; zstd or xz is safe.",
		"A named device: is it there? Compare ls /dev/disk/by-label and dmesg.",
	}},
	{Module, []string{
		"Compare uname -r with the folder in /lib/modules: kernel and initrd must be of the same build.",
		"\"Key was rejected\" (lockdown, Secure Boot): the modules aren't signed by this kernel's key.",
		"\"Unknown symbol\": a dependency is missing; rebuild the initrd with netstage initrd, which adds them.",
	}},
	{NoModule, []string{
		"The initrd lacks that module: rebuild it with netstage initrd --module +NAME from the modules of this very kernel.",
		"Is it there and not found? Compare uname -r with the folder in /lib/modules.",
		"Built into other kernels and a module in this one? Say --module +NAME all the same.",
	}},
	{NoFilesystem, []string{
		"This kernel can't mount that type of file system: the module is missing from the initrd. Add it with netstage initrd --module +NAME.",
		"Kernel and modules must be of the same build: compare uname -r with the folder in /lib/modules.",
		"Or make the image of the other type: netstage image makes squashfs and erofs.",
	}},
	{Handover, []string{
		"The new root was ready and PID 1 could not switch to it; nothing of the initrd was deleted before that was certain. The reason is above.",
		"Have a look: boot with boot.debug1mounts, then ls /mnt-root and mount.",
		"A prepare-root that fails says why in the lines above it: run it on a machine that is up.",
	}},
	{Failed, []string{
		"The cause above is all there is: the kernel's log (d) often has the reason, just before.",
		"Boot with boot.trace to see each action, or boot.break=STEP to stop before it.",
		"Please report it: such a failure deserves a class of its own.",
	}},
	{Breakpoint, []string{
		"Nothing failed: the shell of a breakpoint was left with a status other than 0. Any other key opens it again.",
		"c continues with the step that the breakpoint is before, r reboots.",
	}},
	{Verity, []string{
		"dm-verity could not be set up. Kernel modules missing? netstage initrd --module +dm_verity packs dm_mod and dm_verity.",
		"Tree and image must be of one build: make both anew with netstage image.",
		"To boot without it: leave out rootfs.verity.mount=; every block was verified when it was fetched.",
	}},
	{NoDevice, []string{
		"No disk has that name, label or UUID: which ones there are, is said above. Is the disk in, and does its firmware setting show it?",
		"Its driver may be missing from the initrd: netstage initrd --module +nvme, +ahci, +virtio_blk, ...",
		"A new disk has no label yet: make its file system, with that label, on a machine that is up.",
		"Booted from it by iPXE's sanboot, or memdisk? Such a disk is the firmware's alone, and gone once the kernel runs: give rootfs=URL of the ISO image instead.",
	}},
	{Fsck, []string{
		"The check found what it does not dare to mend by itself. Mend it by hand: i, then e2fsck -y DEVICE, or on another machine.",
		"A program for that file system must be in the initrd; without it the file system is mounted unchecked.",
		"Again and again? In the kernel log (d) look for I/O errors: the disk is dying.",
	}},
	{FsckReboot, []string{
		"The file system was mended, and its checker asks for a reboot before it is used: press r.",
		"The same at each boot? In the kernel log (d) look for I/O errors: the disk is dying.",
	}},
	{Exec, []string{
		"Stage 2 could not be started; the reason is above. \"Exec format error\": wrong architecture, or a script without #!.",
		"\"No such file\" for a file that exists: its interpreter or loader is missing from the image.",
		"\"Permission denied\": no x bit, or a noexec mount.",
	}},
}
