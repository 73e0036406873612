package debug

import (
	"time"

	"netstage/stage1/fault"
)

// realScreens are failures that machines in QEMU had (make pictures), as their
// screens showed them.
func realScreens() map[fault.Class]fault.Failure {
	return map[fault.Class]fault.Failure{
		"no-nic": {
			Cause: `network: no network card found in 60 s (no driver, or none fitted)`,
			Step:  "network", Took: 60000 * time.Millisecond,
			Facts:  []fault.Fact{{Title: "Network", Lines: []string{`no network card`}}, {Title: "Memory", Lines: []string{`823 of 968 MiB available`}}},
			Agent:  []string{`[    3.395058] devices (4/8): load the drivers the hardware asks for`, `[    3.578796] devices (4/8): done, 0.182 s`, `[    3.584875] network (5/8): bring up the network`, `[    8.601393] network: still waiting for a network card, 5 s`, `[   18.604742] network: still waiting for a network card, 15 s`, `[   38.606174] network: still waiting for a network card, 35 s`},
			Kernel: []string{`[    1.014423] acpi PNP0A03:00: fail to add MMCONFIG information, ca...`, `[    1.922799] amd_pstate: the _CPC object is not present in SBIOS o...`, `[    3.477643] squashfs: version 4.0 (2009/01/31) Phillip Lougher`, `[    3.492058] loop: module loaded`, `[    3.520484] No iBFT detected.`},
		},
		"no-carrier": {
			Cause: `network: no carrier on eth0 after 19 s (cable, switch port)`,
			Step:  "network", Took: 20000 * time.Millisecond,
			Facts:  []fault.Fact{{Title: "Network", Lines: []string{`eth0 52:54:00:12:34:56 virtio_net 0000:00:03.0 no carrier, 19 s`}}, {Title: "Memory", Lines: []string{`822 of 968 MiB available`}}},
			Agent:  []string{`[    3.872554] devices (4/8): done, 0.339 s`, `[    3.880548] network (5/8): bring up the network`, `[    3.950378] eth0: virtio_net 52:54:00:12:34:56, no carrier yet`, `[    8.895115] network: still waiting: no carrier on eth0, 5 s`, `[   18.986036] network: still waiting: no carrier on eth0, 15 s`},
			Kernel: []string{`[    1.954281] amd_pstate: the _CPC object is not present in SBIOS o...`, `[    3.612951] squashfs: version 4.0 (2009/01/31) Phillip Lougher`, `[    3.652325] loop: module loaded`, `[    3.799182] No iBFT detected.`},
		},
		"no-lease": {
			Cause: `network: no DHCP answer on eth0 after 20 s`,
			Step:  "network", Took: 20100 * time.Millisecond,
			Facts:  []fault.Fact{{Title: "Network", Lines: []string{`eth0 52:54:00:12:34:56 virtio_net 0000:00:03.0`, `     discovering (6 tries), 19 s`}}, {Title: "Memory", Lines: []string{`823 of 968 MiB available`}}},
			Agent:  []string{`[    6.393897] network (5/8): bring up the network`, `[    6.464333] eth0: virtio_net 52:54:00:12:34:56, carrier`, `[   11.423027] network: still waiting: eth0: discovering (4 tries), ...`, `[   21.441838] network: still waiting: eth0: discovering (6 tries), ...`},
			Kernel: []string{`[    2.594280] amd_pstate: the _CPC object is not present in SBIOS o...`, `[    5.426407] squashfs: version 4.0 (2009/01/31) Phillip Lougher`, `[    5.733173] loop: module loaded`, `[    6.345166] No iBFT detected.`},
		},
		"dns": {
			Cause: `network: a lease but no path on eth0 after 20 s: dns: images.invalid: no such host, asked 10.0.2.3`,
			Step:  "network", Took: 20000 * time.Millisecond,
			Tried:  []string{`eth0: no path: dns: images.invalid: no such host, asked 10.0.2.3 (5 ...`},
			Facts:  []fault.Fact{{Title: "Network", Lines: []string{`eth0 52:54:00:12:34:56 virtio_net 0000:00:03.0`, `     10.0.2.15/24, proving the path (5 tries), 19 s`, `     no path: dns: images.invalid: no such host, asked 10.0.2.3`}}, {Title: "Memory", Lines: []string{`822 of 968 MiB available`}}},
			Agent:  []string{`[    3.846189] eth0: no path: dns: images.invalid: no such host, ask...`, `[    8.685880] network: still waiting: eth0: 10.0.2.15/24, proving t...`, `[   18.694544] network: still waiting: eth0: 10.0.2.15/24, proving t...`},
			Kernel: []string{`[    3.374825] squashfs: version 4.0 (2009/01/31) Phillip Lougher`, `[    3.422709] loop: module loaded`, `[    3.623936] No iBFT detected.`},
		},
		"mismatch": {
			Cause: `10.0.2.2:38907 serves a wrong image: sha256 is 661cc27b419dd883728b5847c428c5d0b39c651f4a649953f58046caa838e595, expected 0000000000000000000000000000000000000000000000000000000000000000 (http://10.0.2.2:38907/nix-store.squashfs)`,
			Step:  "image", Took: 800 * time.Millisecond,
			Tried:  []string{`0.8 s: 10.0.2.2:38907 serves a wrong image: sha256 is 661cc27b419dd8...`},
			Facts:  []fault.Fact{{Title: "Network", Lines: []string{`eth0 52:54:00:12:34:56 virtio_net 0000:00:03.0 10.0.2.15/24, 0 s, used`}}, {Title: "Mirrors", Lines: []string{`10.0.2.2:38907: serves a wrong image: sha256 is 661cc27b419dd883728b...`}}, {Title: "Memory", Lines: []string{`817 of 968 MiB available`}}},
			Agent:  []string{`[    4.586534] image: 26 MiB from http://10.0.2.2:38907/nix-store.sq...`, `[    5.326374] image: 10.0.2.2:38907: starting over at 25/26 MiB: sh...`},
			Kernel: []string{`[    3.988917] loop: module loaded`, `[    4.153885] No iBFT detected.`},
		},
		"http-404": {
			Cause: `10.0.2.2:39981: 404 Not Found for http://10.0.2.2:39981/nix-store-2026-11-22.squashfs`,
			Step:  "image", Took: 100 * time.Millisecond,
			Tried:  []string{`0.1 s: 10.0.2.2:39981: 404 Not Found for http://10.0.2.2:39981/nix-s...`},
			Facts:  []fault.Fact{{Title: "Network", Lines: []string{`eth0 52:54:00:12:34:56 virtio_net 0000:00:03.0 10.0.2.15/24, 0 s, used`}}, {Title: "Mirrors", Lines: []string{`10.0.2.2:39981: 404 Not Found`}}, {Title: "Memory", Lines: []string{`826 of 968 MiB available`}}},
			Agent:  []string{`[    5.334170] eth0: 10.0.2.15/24 via 10.0.2.2, dns 10.0.2.3, from 1...`, `[    5.427798] network (5/8): done, 0.404 s`, `[    5.428001] image (6/8): get the image`, `[    5.445170] image: nothing vouches for it; give rootfs.sha256=`},
			Kernel: []string{`[    4.468544] squashfs: version 4.0 (2009/01/31) Phillip Lougher`, `[    4.584012] loop: module loaded`, `[    4.976772] No iBFT detected.`},
		},
		"no-init": {
			Cause: `init=/nix/store/f93fqw9ha2xm4v6d0cz6yq8s2b1kpl3j-nixos-system-rack12-25.11/init can't be started: resolve /nix/store/f93fqw9ha2xm4v6d0cz6yq8s2b1kpl3j-nixos-system-rack12-25.11/init /nix/store/f93fqw9ha2xm4v6d0cz6yq8s2b1kpl3j-nixos-system-rack12-25.11: no such file or directory`,
			Step:  "root", Took: 200 * time.Millisecond,
			Facts:  []fault.Fact{{Title: "Network", Lines: []string{`eth0 52:54:00:12:34:56 virtio_net 0000:00:03.0 10.0.2.15/24, 1 s, used`}}, {Title: "Mirrors", Lines: []string{`10.0.2.2:34765: HTTP/1.1 200 OK, 25 MiB`}}, {Title: "Memory", Lines: []string{`806 of 968 MiB available`}}},
			Agent:  []string{`[   15.971732] image: 26 MiB from http://10.0.2.2:34765/nix-store.sq...`, `[   17.040602] image: 26 MiB from 10.0.2.2:34765 in 1.1 s, 23 MiB/s,...`, `[   17.091134] image (6/8): done, 1.204 s`, `[   17.092129] root (7/8): mount the new root`},
			Kernel: []string{`[   15.495603] loop: module loaded`, `[   15.703712] No iBFT detected.`, `[   17.079741] loop0: detected capacity change from 0 to 51272`},
		},
		"bad-parameter": {
			Cause: `kernel command line: rootfs.sha256=: "d41d8cd9" is no SHA-256: want 64 hex digits, 52 nix32 digits or sha256-BASE64; boot.fail_timeout=soon: want a number of seconds, 0 for ever`,
			Step:  "config", Took: 0 * time.Millisecond,
			Facts:  []fault.Fact{{Title: "Memory", Lines: []string{`832 of 968 MiB available`}}},
			Agent:  []string{`[    3.855421] pseudo (1/8): mount the special file systems`, `[    3.868999] pseudo (1/8): done, 0.010 s`, `[    3.869444] config (2/8): read the kernel command line`},
			Kernel: []string{`[    1.954281] amd_pstate: the _CPC object is not present in SBIOS o...`},
		},
		"killed": {
			Cause: `boot was killed by signal 9 (killed)`, Step: "boot",
			Facts:  []fault.Fact{{Title: "Network", Lines: []string{`eth0 52:54:00:12:34:56 virtio_net 0000:00:03.0 no carrier, 0 s`}}, {Title: "Memory", Lines: []string{`287 of 338 MiB available`}}},
			Agent:  []string{`[    5.732335] modules (3/8): index the drivers of this kernel`, `[    5.819820] modules (3/8): done, 0.086 s`, `[    5.820430] devices (4/8): load the drivers the hardware asks for`, `[    6.617234] drivers: failover net_failover virtio_net`, `[    6.777747] devices (4/8): done, 0.957 s`, `[    6.830569] breakpoint before step "network" (bring up the networ...`},
			Kernel: []string{`[   16.447707] [  pid  ]   uid  tgid total_vm      rss rss_anon rss_...`, `[   16.447900] [    132]     0   132   316888     2401      384     ...`, `[   16.447938] [    141]     0   141   316888     2018      224     ...`, `[   16.447950] [    148]     0   148   384435    75011    73361     ...`, `[   16.447973] oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),c...`, `[   16.448657] Out of memory: Killed process 148 (exe) total-vm:1537...`},
		},
	}
}
