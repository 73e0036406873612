package debug

import (
	"slices"
	"strings"
)

// AdviceFor returns what to do about a class of failure, most likely remedy
// first. A class it doesn't know gets advice that always holds.
func AdviceFor(class string) []string {
	if a := advice(class); a != nil {
		return a
	}
	switch {
	case strings.HasPrefix(class, "http-4"):
		return slices.Clone(advice("http-404"))
	case strings.HasPrefix(class, "http-"):
		return []string{
			"The server answered with an error of its own: read its error log first.",
			"Ask it yourself: curl -I URL from a machine in the same network.",
			"If a proxy or load balancer stands in front, ask what is behind it.",
		}
	}
	return []string{
		"Read the kernel log (d): the first error there is often the cause.",
		"Boot with boot.trace to see each action, or boot.break=STEP to stop before it.",
		"Note class, step and cause before rebooting.",
	}
}

// advice is the table: a switch, so that nothing is built before it is asked
// for.
func advice(class string) []string {
	switch class {
	case "no-nic":
		return []string{
			"Is there a card? In the kernel log (d) look for its PCI line. None: check that the firmware hasn't switched it off, reseat it.",
			"In a virtual machine: give it a virtio-net or e1000 device.",
			"USB or thunderbolt adapter: plug it into another port; try without the hub.",
		}
	case "no-driver":
		return []string{
			"The card is there and the initrd has no driver for it. Rebuild it with netstage initrd --module NAME; the modalias above says which.",
			"Kernel and modules must be of the same version: compare uname -r with the folder in /lib/modules.",
			"Driver loaded but no link? It may want firmware: look for \"firmware\" in the kernel log (d) and add it with --firmware.",
		}
	case "no-carrier":
		return []string{
			"Look at the link light. Dark: cable, transceiver (SFP), or the switch port is shut.",
			"Try another port and another cable before anything else; with several cards, is the cable in the right one?",
			"Fixed speed on the switch side? Both ends must be on autonegotiation.",
			"Spanning tree can hold a port for 30 s: set portfast (edge) on it.",
		}
	case "no-lease":
		return []string{
			"Carrier is up and no DHCP server answered. Is this port in the right VLAN?",
			"Is the server running, and has it free addresses? Look for this machine's MAC in its log: seen there but not answered is a pool or a filter.",
			"Across a router the relay (ip helper) must name the server.",
			"Spanning tree can hold a port for 30 s: set portfast (edge) on it. Or give the address by hand with ip=.",
		}
	case "no-route":
		return []string{
			"The address is there, the way out is not: does DHCP give a router (option 3 or 121)? Is the gateway inside the netmask?",
			"Is the image server in another network? Then the gateway must answer: ping it from the shell.",
			"With several cards: the wrong one may have got the lease. Pin it with ip=DEVICE:dhcp or BOOTIF=.",
		}
	case "dns":
		return []string{
			"Does DHCP give name servers (option 6) that this network can reach?",
			"Is the name spelled right, and known there? Try it from a machine in the same network.",
			"To get going now: put the address into rootfs= instead of the name, or add nameserver=ADDRESS.",
		}
	case "refused":
		return []string{
			"The host is up and nothing listens on that port: is the web server running? Is the port in rootfs= the right one?",
			"Listening on 127.0.0.1 only looks the same from here: check with ss -ltn on the server.",
			"A firewall that rejects does, too.",
		}
	case "tls":
		return []string{
			"Compare the clocks: a machine with an empty battery believes it is years ago and refuses every certificate. Set it in the firmware.",
			"Is the certificate's name the one in the URL, and is its issuer in the initrd (/etc/ssl/certs)?",
			"Expired? openssl s_client -connect HOST:443 on another machine shows it.",
		}
	case "http-404":
		return []string{
			"The server answers and doesn't have, or doesn't give, that file. Compare the URL above with what is really there, letter by letter.",
			"A relative rootfs= is looked up beside the boot file of DHCP: set rootfs.base= or give the whole URL.",
			"401 or 403: file permissions on the server, or it wants a login.",
			"Did somebody upload a new image and remove the old one? The boot script may still name the old.",
		}
	case "stalled":
		return []string{
			"Bytes came, then stopped. Many machines booting at once? The server or its uplink may be full.",
			"Dies always after some kilobytes: an MTU problem on the path; try a smaller MTU, or let ICMP through the firewall.",
			"Look at the switch port's error counters: a bad cable passes pings and stalls images.",
		}
	case "short":
		return []string{
			"The image ended before its announced length. Is the file on the server complete? Compare its size there.",
			"Is it being replaced right now? Upload under another name and rename it.",
			"A proxy in between may cut large files: fetch without it.",
		}
	case "mismatch":
		return []string{
			"The image isn't the one that was promised; not one byte of it was mounted. Compare sha256sum of the file on the server with the digest above.",
			"New image, old boot script (or the reverse)? Deploy both together, or use rootfs.manifest=.",
			"Same file, another digest at each attempt: bad memory in this machine or a faulty path. Run a memory test.",
			"If neither explains it, treat the server as tampered with.",
		}
	case "no-memory":
		return []string{
			"The image is held in memory and must fit with room to work in: figures above. Add memory, or make the image smaller.",
			"Less memory than fitted? A module may have failed: look at the firmware's count.",
			"In a virtual machine: raise its memory.",
			"crashkernel= and hugepages= on the command line take theirs first.",
		}
	case "no-init":
		return []string{
			"The image is mounted and has no runnable init= at that path. Image and init= must be of the same build: boot script and image out of step?",
			"Have a look: boot with boot.debug1mounts and ls the path below the new root.",
			"\"not found\" for a file that is there: its interpreter or loader is missing, or it is of another architecture.",
		}
	case "panic":
		return []string{
			"A fault in stage 1 itself, not in your set-up. The trace is in the kernel log (d): please report it, with the command line.",
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
	case "no-image":
		return []string{
			"Nothing says where the system is. Add rootfs=URL to the kernel command line, or put /nix-store.squashfs into the initrd.",
			"Is the parameter there and not seen? Some loaders cut long command lines: compare /proc/cmdline.",
			"An all-in-one initrd above about 2 GB is cut by the loader: use rootfs= instead.",
		}
	case "bad-image":
		return []string{
			"What was fetched is neither squashfs nor erofs. A web server's error page looks like this: fetch the URL elsewhere and look at it (file, head).",
			"Right file? The kernel and initrd beside it have similar names.",
			"Compressed once more (.gz, .xz)? Unpack it on the server.",
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
	case "timeout":
		return []string{
			"The server's packets don't come back: a firewall that drops, the wrong address, or a server that is down. Ping it, then try its port: wget URL in the shell.",
			"Does the server know a way back into this network? Compare its routes with the address above.",
			"Connects, and then no answer: the server is overloaded, or waits for a disk of its own.",
		}
	case "reset":
		return []string{
			"Somebody ends the connection: the web server (look into its error log), a load balancer with a limit, or a firewall.",
			"Always after the same number of bytes? A proxy's limit on size. Always after the same time? A time limit.",
		}
	case "tls-date":
		return []string{
			"Certificate or clock is out of date. A machine with an empty battery is years behind. Set it in the firmware.",
			"No clock to trust? Give time servers by DHCP (option 42): they are asked before https.",
			"With rootfs.sha256= or a root hash a wrong date only warns: pin the image.",
			"The clock is right? Renew the certificate on the server.",
		}
	case "redirect":
		return []string{
			"The server sends on to another address, in a circle or from https to http, which is refused. See for yourself: curl -IL URL.",
			"Put the last address, the one that has the file, into rootfs=.",
		}
	case "bad-range":
		return []string{
			"The server, or a proxy before it, answers a request for a part of the file wrongly: curl -r 100-199 URL must give 100 bytes.",
			"Go round the proxy, or switch its caching of ranges off.",
		}
	case "encoding":
		return []string{
			"The server compresses the image on its way (Content-Encoding): switch that off for this file.",
			"A file named .gz or .zst is often served so by mistake: rename it.",
		}
	case "protocol":
		return []string{
			"What answers there speaks no proper HTTP: is it the right port? https on an http port looks like this.",
			"Ask it yourself: curl -v URL from a machine in the same network.",
		}
	case "changed":
		return []string{
			"The image was replaced on the server while this machine fetched it. Retry: the new one is fetched from its start.",
			"Upload under another name and rename, so that a download has the old or the new one.",
			"Mirrors that differ? Compare sizes and dates there.",
		}
	case "too-large":
		return []string{
			"A small file (manifest, signature, verity tree) is far too large: the URL leads to something else. Look at it: curl -I URL.",
			"A verity tree must be of the very image that is beside it: make both anew with netstage image.",
		}
	case "no-space":
		return []string{
			"The file system that holds the image is full: figures above. Add memory, or make the image smaller.",
			"Something else in the initrd takes the room? Look with df in the shell.",
		}
	case "store":
		return []string{
			"The image could not be written down; the kernel's reason is above and in its log (d).",
			"Memory that is nearly full does this: look at the figures above.",
		}
	case "bad-url":
		return []string{
			"The reference to the image is no URL that can be asked for. Correct rootfs= (or rootfs.base=, or the manifest) as the line above says.",
			"A relative name needs something to be relative to: rootfs.base=URL, or a boot file that DHCP names as a URL.",
		}
	case "manifest":
		return []string{
			"The manifest is not what it should be. A web server's error page looks like this: fetch the URL and look at it.",
			"Sign it anew with netstage sign; netstage verify checks it before it is deployed.",
			"An agent older than the manifest's format? Rebuild the initrd.",
		}
	case "signature":
		return []string{
			"No key in the initrd's /etc/netstage/trusted.d signed this. Signed with another key? Compare the key IDs above with netstage verify.",
			"Is the signature beside the manifest (.minisig), and of this very manifest? Deploy both together.",
			"If neither explains it, treat the server as tampered with.",
		}
	case "policy":
		return []string{
			"The initrd forbids what was asked for; no kernel parameter changes that. Give what it wants (see above), or build the initrd with another policy.",
			"A manifest is too old? Sign a new one: netstage sign.",
			"init= must be what the manifest names: leave it out.",
		}
	case "cancelled":
		return []string{
			"The download was called off before it was done: by the step's end, not by a server. Retry.",
			"Again? Please report it, with the kernel log (d).",
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
	case "exec":
		return []string{
			"Stage 2 could not be started; the reason is above. \"Exec format error\": wrong architecture, or a script without #!.",
			"\"No such file\" for a file that exists: its interpreter or loader is missing from the image.",
			"\"Permission denied\": no x bit, or a noexec mount.",
		}
	}
	return nil
}

// Classes are the classes that have advice of their own. Any http-NNN has it
// too.
func Classes() []string {
	return []string{
		"no-nic", "no-driver", "no-carrier", "no-lease", "no-route", "dns", "refused", "timeout", "reset", "tls",
		"tls-date", "http-404", "redirect", "bad-range", "encoding", "protocol", "changed", "too-large", "stalled",
		"short", "mismatch", "manifest", "signature", "policy", "no-memory", "no-space", "store", "no-init", "panic",
		"killed", "step-timeout", "failed", "cancelled", "bad-parameter", "bad-url", "no-image", "bad-image", "mount",
		"no-filesystem", "module", "no-module", "exec", "handover", "breakpoint",
	}
}
