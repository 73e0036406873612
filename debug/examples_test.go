package debug

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"netstage/stage1/fault"
)

// examples are failures by their class: real ones, and others as boots report
// them.
func examples() map[fault.Class]fault.Failure {
	const (
		url  = "http://10.0.2.2:8080/nix-store.squashfs"
		card = "eth0 (virtio_net) 52:54:00:12:34:56: "
	)
	lease := []string{card + "10.0.2.15/24, 12 s"}
	memory := []string{"1873 of 1987 MiB available"}
	kernel := []string{
		"[    2.683882] virtio_net virtio0 eth0: renamed from net0",
		"[    3.061284] squashfs: version 4.0 (2009/01/31) Phillip Lougher",
		"[    3.184410] loop: module loaded",
	}
	failure := func(step, cause string, seconds float64, tried ...string) fault.Failure {
		return fault.Failure{
			Cause: cause, Step: step, Attempt: 1, Took: time.Duration(seconds * float64(time.Second)), Tried: tried, Kernel: kernel,
			Facts: []fault.Fact{{Title: "Network", Lines: lease}, {Title: "Memory", Lines: memory}},
			Agent: []string{
				"[    2.714194] eth0: virtio_net 52:54:00:12:34:56, carrier",
				"[    2.792861] eth0: 10.0.2.15/24 via 10.0.2.2, dns 10.0.2.3, from 10.0.2.2 in 50 ms",
				fmt.Sprintf("[    2.851884] %s: started", step),
			},
		}
	}
	network := func(cause string, seconds float64, links ...string) fault.Failure {
		f := failure("network", cause, seconds, links...)
		f.Facts[0].Lines = links
		f.Agent = []string{"[    2.703204] network (5/8): bring up the network", "[   12.704711] network: still waiting, 10 s"}
		return f
	}
	image := func(cause string, seconds float64, tried ...string) fault.Failure {
		f := failure("image", cause, seconds, tried...)
		last := "not asked"
		if len(tried) > 0 {
			last = strings.TrimSuffix(strings.TrimPrefix(cause, "10.0.2.2:8080: "), " for "+url)
		}
		f.Facts = []fault.Fact{f.Facts[0], {Title: "Mirrors", Lines: []string{"10.0.2.2:8080: " + last}}, f.Facts[1]}
		return f
	}
	at := func(seconds, text string) string { return seconds + " s: 10.0.2.2:8080: " + text }

	all := map[fault.Class]fault.Failure{
		"no-driver": network("pci:v00008086d00001533 (class 020000) at 0000:01:00.0 has no driver in the initrd (network: no network card found in 30 s (no driver, or none fitted))", 30.1),
		"no-route":  network("network: a lease but no path on eth0 after 120 s: 10.9.0.2:8080: no route to host", 120.2, card+"10.0.2.15/24, proving the path, 117 s"),

		"refused": image("10.0.2.2:8080: connection refused", 94.0, at("0.0", "connection refused"), at("0.3-93.8", "connection refused (17 times)")),
		"timeout": image("10.0.2.2:8080: no connection in time", 301.5, at("10.0-301.5", "no connection in time (14 times)")),
		"reset":   image("10.0.2.2:8080: connection reset", 88.1, at("4.1", "connection reset"), at("9.4-88.1", "connection reset (8 times)")),
		"tls":     image("images.example.net: certificate is not for this host: x509: certificate is valid for www.example.net, not images.example.net", 0.3, "0.2 s: images.example.net: certificate is not for this host"),
		"tls-date": image("images.example.net: certificate: x509: certificate has expired or is not yet valid: current time 2016-01-01T00:00:41Z is before 2026-10-01T00:00:00Z (wrong clock? pin the image with a digest and dates only warn)",
			0.3, "0.2 s: images.example.net: certificate has expired or is not yet valid"),
		"http-503": image("10.0.2.2:8080: 503 Service Unavailable for "+url, 61.0, at("0.0-61.0", "503 Service Unavailable for "+url+" (9 times)")),
		"tftp":     image("10.0.2.2: TFTP error 1: file /srv/tftp/nix-store.squashfs not found for tftp://10.0.2.2/nix-store.squashfs", 0.1, at("0.0", "TFTP error 1: file /srv/tftp/nix-store.squashfs not found")),
		"stream":   image("stream: open the device mapper: open /dev/mapper/control: no such file or directory", 0.3),
		"artifact": image("registry.example.net: it has nothing for linux/arm64: there is linux/amd64 (oci://registry.example.net/web:1)", 0.2),
		"registry-auth": image("registry.example.net does not let the user boot read web: UNAUTHORIZED authentication required", 0.2,
			"0.1 s: registry.example.net does not let the user boot read web"),
		"redirect":  image("10.0.2.2:8080: more than 10 redirects, the last to "+url, 0.2, at("0.1", "more than 10 redirects")),
		"bad-range": image(`10.0.2.2:8080: asked from byte 16777216 on it answers Content-Range "bytes 0-27262975/27262976"`, 5.5, at("3.0", "connection reset"), at("3.4", "a wrong Content-Range")),
		"encoding":  image("10.0.2.2:8080: sends the image with Content-Encoding gzip", 0.1, at("0.0", "sends the image with Content-Encoding gzip")),
		"protocol":  image(`10.0.2.2:8080: malformed HTTP response "SSH-2.0-OpenSSH_9.2p1"`, 33.0, at("0.0-33.0", "malformed HTTP response (6 times)")),
		"changed":   image("10.0.2.2:8080: its length is 27262980, not 27262976", 8.2, at("4.4", "connection reset"), at("4.6-8.2", "its length is 27262980, not 27262976 (4 times)")),
		"too-large": image("4831838208 bytes where at most 67108864 are expected", 0.2, at("0.1", "4831838208 bytes where at most 67108864 are expected")),
		"stalled":   image("10.0.2.2:8080: stalled: 0 B/s over 10s, the floor is 64 KiB/s", 75.3, at("12.0-75.3", "stalled: 0 B/s over 10s (6 times)")),
		"short":     image("10.0.2.2:8080: the body ended early", 44.7, at("1.2-44.7", "the body ended early (7 times)")),
		"cancelled": image("10.0.2.2:8080: cancelled", 9.0, at("9.0", "cancelled")),
		"manifest":  image("manifest: it is no JSON: invalid character '<' looking for beginning of value", 0.1, at("0.1", "serves a wrong manifest")),
		"rollback":  image(`the manifest "web" has serial 41, and this machine has booted serial 42 of it: an old one is being replayed, or the new one was not uploaded; to go back, sign the old image with a higher serial`, 0.1, at("0.1", "serves a wrong manifest")),
		"signature": image("manifest: signed by the key 8B2D1C0F9E3A7755, which is none of the initrd's: A1B2C3D4E5F60718", 0.1, at("0.1", "serves a wrong manifest")),
		"policy":    image("nothing vouches for the image, and the initrd wants that something does: give rootfs.sha256= or rootfs.roothash=", 0),
		"no-memory": image("the image of 1610 MiB does not fit with 256 MiB to work in, 987 MiB are available: add memory to the machine or make the image smaller", 0.1),
		"no-space":  image("the image does not fit: no space left on device", 22.3),
		"store":     image("cannot keep the image: input/output error", 3.0),
		"bad-url":   image(`image reference "nix-store.squashfs" is relative, and there is nothing it is relative to`, 0),
		"no-image":  image("no rootfs= was given, and the initrd has no /nix-store.squashfs", 0),

		"bad-image":     failure("root", "image /image/image: neither squashfs nor erofs", 0),
		"mount":         failure("root", "mount /dev/loop0 (squashfs) at /mnt-root/nix/.ro-store: create: invalid argument (kernel: e squashfs: Filesystem uses \"lzo\" compression. This is not supported)", 0.1),
		"no-filesystem": failure("root", "mount /dev/loop0 (erofs) at /mnt-root/nix/.ro-store: fsopen: no such device", 0),
		"verity":        failure("root", "dm-verity: open the device mapper: open /dev/mapper/control: no such device (has the kernel dm_mod and dm_verity? pack them into the initrd with --module +dm_verity)", 0),
		"no-device":     failure("root", "no device LABEL=persist: not within 20 s", 20, "there is /dev/vda1 ext4 LABEL=data", "there is /dev/vda2 swap"),
		"fsck":          failure("root", "/dev/vda1: fsck.ext4 left errors uncorrected: a person has to decide", 2.1, "data: UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY."),
		"fsck-reboot":   failure("root", "/dev/vda1: fsck.ext4 corrected errors and wants a reboot", 9.4),
		"module":        failure("root", "module squashfs (/lib/modules/6.12.30/kernel/fs/squashfs/squashfs.ko.xz): finit_module: key was rejected by service", 0),
		"no-module":     failure("root", "no module overlay in /lib/modules/6.12.30: pack it into the initrd", 0),
		"handover":      failure("handover", "refused to leave the initramfs: /sbin/init in the new root: no such file or directory", 0),
		"exec":          failure("boot", "start /init as boot: cannot allocate memory", 0),
		"step-timeout":  failure("devices", "step devices took too long: the limit is 2m0s: context deadline exceeded", 120),
		"failed":        failure("pseudo", "symlink /init /sbin/modprobe: read-only file system", 0),
		"panic": failure("boot", "boot panicked; its trace is on the console: panic: runtime error: index out of range [3] with length 3", 0,
			"panic: runtime error: index out of range [3] with length 3", "goroutine 1 [running]:", "netstage/stage1.(*Boot).mountRoot(0xc0001c2000)"),
		"internal":      failure("image", "the next request would be for the bytes 83017728 to 74121215 of the image: a fault of this program", 12.4),
		"breakpoint":    failure("network", "the shell before step network was left with status 1", 0),
		"something-new": failure("image", "a failure that nobody has thought of", 1),
	}
	maps.Copy(all, realScreens())
	return all
}
