package fault

// Classes of the image, what vouches for it, and what is in it.
const (
	Mismatch  Class = "mismatch"  // not what was promised
	NoMemory  Class = "no-memory" // more than the memory holds
	NoInit    Class = "no-init"   // no init that can be started
	NoImage   Class = "no-image"  // nothing says where the image is
	BadImage  Class = "bad-image" // no image of a system
	NoSpace   Class = "no-space"  // a full file system
	Store     Class = "store"     // the image can't be written down
	BadURL    Class = "bad-url"   // a reference that can't be asked for
	Manifest  Class = "manifest"  // no proper manifest
	Signature Class = "signature" // signed by no trusted key
	Policy    Class = "policy"    // forbidden by the initrd or the manifest
	Rollback  Class = "rollback"  // older than what this machine has booted
	Stream    Class = "stream"    // the image can't be used while it comes
	Artifact  Class = "artifact"  // what a registry has is no system for this machine
)

var image = []advice{
	{Mismatch, []string{
		"The image isn't the one that was promised; not one byte of it was mounted. Compare sha256sum of the file on the server with the digest above.",
		"New image, old boot script (or the reverse)? Deploy both together, or use rootfs.manifest=.",
		"Same file, another digest at each attempt: bad memory in this machine or a faulty path. Run a memory test.",
		"If neither explains it, treat the server as tampered with.",
	}},
	{NoMemory, []string{
		"The image is held in memory and must fit with room to work in: figures above. Add memory, or make the image smaller.",
		"Less memory than fitted? A module may have failed: look at the firmware's count.",
		"In a virtual machine: raise its memory.",
		"crashkernel= and hugepages= on the command line take theirs first.",
	}},
	{NoInit, []string{
		"The image is mounted and has no runnable init= at that path. Image and init= must be of the same build: boot script and image out of step?",
		"Have a look: boot with boot.debug1mounts and ls the path below the new root.",
		"\"not found\" for a file that is there: its interpreter or loader is missing, or it is of another architecture.",
	}},
	{NoImage, []string{
		"Nothing says where the system is. Add rootfs=URL to the kernel command line, or put /nix-store.squashfs into the initrd.",
		"Is the parameter there and not seen? Some loaders cut long command lines: compare /proc/cmdline.",
		"An all-in-one initrd above about 2 GB is cut by the loader: use rootfs= instead.",
	}},
	{BadImage, []string{
		"What was fetched is neither squashfs nor erofs. A web server's error page looks like this: fetch the URL elsewhere and look at it (file, head).",
		"Right file? The kernel and initrd beside it have similar names.",
		"Compressed once more (.gz, .xz)? Unpack it on the server.",
	}},
	{NoSpace, []string{
		"The file system that holds the image is full: figures above. Add memory, or make the image smaller.",
		"Something else in the initrd takes the room? Look with df in the shell.",
	}},
	{Store, []string{
		"The image could not be written down; the kernel's reason is above and in its log (d).",
		"Memory that is nearly full does this: look at the figures above.",
	}},
	{BadURL, []string{
		"The reference to the image is no URL that can be asked for. Correct rootfs= (or rootfs.base=, or the manifest) as the line above says.",
		"A relative name needs something to be relative to: rootfs.base=URL, or a boot file that DHCP names as a URL.",
	}},
	{Manifest, []string{
		"The manifest is not what it should be. A web server's error page looks like this: fetch the URL and look at it.",
		"Sign it anew with netstage sign; netstage verify checks it before it is deployed.",
		"An agent older than the manifest's format? Rebuild the initrd.",
	}},
	{Signature, []string{
		"No key in the initrd's /etc/netstage/trusted.d signed this. Signed with another key? Compare the key IDs above with netstage verify.",
		"Is the signature beside the manifest (.minisig), and of this very manifest? Deploy both together.",
		"If neither explains it, treat the server as tampered with.",
	}},
	{Stream, []string{
		"The image could not be used while it comes: the line above says what lacks. Leave out rootfs.stream and it is fetched whole first.",
		"Loop devices and the device mapper are needed: pack loop, dm_mod and nbd into the initrd.",
		"The process that serves it ended? Its last words are in the kernel log (d).",
	}},
	{Artifact, []string{
		"The registry answers, and what it has under that name is no system for this machine: the line above says what is there. Push it anew with netstage push.",
		"Is it the right repository and tag? Look at it with skopeo inspect --raw, or oras manifest fetch.",
		"Of several platforms one must be this machine's: netstage push --platform.",
	}},
	{Rollback, []string{
		"This machine has booted a newer manifest of that name, and takes no older one. Is the server, or a mirror, behind? Deploy the newest manifest.",
		"To go back to an old image, sign it again: netstage sign gives it a serial above the highest.",
		"If neither explains it, somebody replays an old image: treat the server as tampered with.",
	}},
	{Policy, []string{
		"The initrd forbids what was asked for; no kernel parameter changes that. Give what it wants (see above), or build the initrd with another policy.",
		"A manifest is too old? Sign a new one: netstage sign.",
		"init= must be what the manifest names: leave it out.",
	}},
}
