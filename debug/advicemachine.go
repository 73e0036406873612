package debug

// machineAdvice is about the machine, its kernel and the agent itself.
func machineAdvice(class string) []string {
	switch class {
	case "panic":
		return []string{
			"A fault in stage 1 itself, not in your set-up. The trace is in the kernel log (d): please report it, with the command line.",
			"Retry: it may need a rare order of events. If it is always the same, boot the previous initrd.",
		}
	case "internal":
		return []string{
			"A fault in stage 1 itself, not in your set-up. Please report the line above, with the command line and the kernel log (d).",
			"Retry: it may need a rare order of events. If it is always the same, boot the previous initrd.",
		}
	case "killed":
		return []string{
			"Something killed the boot process. Look for \"Out of memory\" in the kernel log (d): then the image is too large for this machine.",
			"A machine check or \"segfault\" there: bad memory; run a memory test.",
			"Nothing there: somebody did it from a shell.",
		}
	case "step-timeout":
		return []string{
			"The step neither worked nor failed in its time: what it waited for stands in the last lines.",
			"Slow hardware that comes late (RAID, USB, 10G cards) often makes it at the second attempt: retry.",
			"In the kernel log (d) look for \"blocked for more than\" and for resets.",
		}
	case "bad-parameter":
		return []string{
			"Correct the kernel command line in the boot script; all complaints are above, not only the first.",
			"An ampersand, a blank or a quote inside a value needs quotes around the whole parameter: \"rootfs=http://...\".",
			"What the kernel really got: cat /proc/cmdline in the shell.",
		}
	case "mount":
		return []string{
			"The kernel's own reason is in its log (d), just above the failure.",
			"\"unknown filesystem\" or \"no such device\": squashfs, erofs, loop or overlay is missing from the initrd's modules.",
			"\"Invalid argument\" on squashfs: the image uses a compressor this kernel lacks; zstd or xz is safe.",
			"A named device: is it there? Compare ls /dev/disk/by-label and dmesg.",
		}
	case "module":
		return []string{
			"Compare uname -r with the folder in /lib/modules: kernel and initrd must be of the same build.",
			"\"Key was rejected\" (lockdown, Secure Boot): the modules aren't signed by this kernel's key.",
			"\"Unknown symbol\": a dependency is missing; rebuild the initrd with netstage initrd, which adds them.",
		}
	case "no-module":
		return []string{
			"The initrd lacks that module: rebuild it with netstage initrd --module +NAME from the modules of this very kernel.",
			"Is it there and not found? Compare uname -r with the folder in /lib/modules.",
			"Built into other kernels and a module in this one? Say --module +NAME all the same.",
		}
	case "no-filesystem":
		return []string{
			"This kernel can't mount that type of file system: the module is missing from the initrd. Add it with netstage initrd --module +NAME.",
			"Kernel and modules must be of the same build: compare uname -r with the folder in /lib/modules.",
			"Or make the image of the other type: netstage image makes squashfs and erofs.",
		}
	case "handover":
		return []string{
			"The new root was ready and PID 1 could not switch to it; nothing of the initrd was deleted before that was certain. The reason is above.",
			"Have a look: boot with boot.debug1mounts, then ls /mnt-root and mount.",
			"A prepare-root that fails says why in the lines above it: run it on a machine that is up.",
		}
	case "failed":
		return []string{
			"The cause above is all there is: the kernel's log (d) often has the reason, just before.",
			"Boot with boot.trace to see each action, or boot.break=STEP to stop before it.",
			"Please report it: such a failure deserves a class of its own.",
		}
	case "breakpoint":
		return []string{
			"Nothing failed: the shell of a breakpoint was left with a status other than 0. Any other key opens it again.",
			"c continues with the step that the breakpoint is before, r reboots.",
		}
	case "verity":
		return []string{
			"dm-verity could not be set up. Kernel modules missing? netstage initrd --module +dm_verity packs dm_mod and dm_verity.",
			"Tree and image must be of one build: make both anew with netstage image.",
			"To boot without it: leave out rootfs.verity.mount=; every block was verified when it was fetched.",
		}
	case "no-device":
		return []string{
			"No disk has that name, label or UUID: which ones there are, is said above. Is the disk in, and does its firmware setting show it?",
			"Its driver may be missing from the initrd: netstage initrd --module +nvme, +ahci, +virtio_blk, ...",
			"A new disk has no label yet: make its file system, with that label, on a machine that is up.",
		}
	case "fsck":
		return []string{
			"The check found what it does not dare to mend by itself. Mend it by hand: i, then e2fsck -y DEVICE, or on another machine.",
			"A program for that file system must be in the initrd; without it the file system is mounted unchecked.",
			"Again and again? In the kernel log (d) look for I/O errors: the disk is dying.",
		}
	case "fsck-reboot":
		return []string{
			"The file system was mended, and its checker asks for a reboot before it is used: press r.",
			"The same at each boot? In the kernel log (d) look for I/O errors: the disk is dying.",
		}
	case "exec":
		return []string{
			"Stage 2 could not be started; the reason is above. \"Exec format error\": wrong architecture, or a script without #!.",
			"\"No such file\" for a file that exists: its interpreter or loader is missing from the image.",
			"\"Permission denied\": no x bit, or a noexec mount.",
		}
	}
	return nil
}
