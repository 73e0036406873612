package qemutests

import (
	"testing"

	"netstage/fetch/faulty"
	"netstage/stage1/kmod"
)

// Why there is no network, by class, on a screen with what every card is seen
// to do; and once the cause is gone, a key boots the machine.
func TestNetworkFailures(t *testing.T) {
	t.Parallel()
	release, err := kmod.Release()
	if err != nil {
		t.Fatal(err)
	}
	// A lease that does not lead to the image is in the table, whether its path
	// is being proven at that moment or another lease looked for.
	const held = "/24, "
	for class, s := range map[string]scenario{
		"no-nic": {
			cmdline: "rootfs=http://10.77.0.1/image",
			ends:    rebooted, shown: []string{"no network card found", "Network: no network card", "give it a virtio-net"},
		},
		"no-carrier": {
			lan: &network{noDHCP: true, noCarrier: true}, cmdline: "rootfs={url}",
			story: []step{cable(true), dhcp()},
			shown: []string{"no carrier on eth0", "eth0 ", " veth no carrier, ", "link light"},
		},
		"no-lease": {
			lan: &network{noDHCP: true}, cmdline: "rootfs={url}",
			story: []step{dhcp()},
			shown: []string{"no DHCP answer and no IPv6 router on eth0", "discovering (", "soliciting a router (", "right VLAN"},
		},
		"no-route": {
			lan: &network{options: []string{"--dhcp-option=option:router"}}, cmdline: "rootfs=http://192.0.2.1/image",
			ends: rebooted, shown: []string{"a lease but no path on eth0", held, "has no router", "option 3"},
		},
		"dns": {
			lan: &network{options: []string{"--address=/nowhere.test/"}}, cmdline: "rootfs=http://nowhere.test/image",
			ends: rebooted, shown: []string{"dns: nowhere.test: no such host, asked", "10.77.0.1", held, "nameserver=ADDRESS"},
		},
	} {
		key := " "
		if s.ends.end != "" {
			key = "r"
		}
		s.files = map[string]string{"/lib/modules/" + release + "/modules.dep": ""} // for this kernel, and none
		s.cmdline = "boot.network_timeout=3 init={init} " + s.cmdline
		s.story = append(append([]step{shows("boot failed: " + class), menu}, s.story...), types(key))
		t.Run(class, s.run)
	}
}

// While the network is waited for, the console has a line that moves, and a
// file for tools says the same.
func TestNetworkIsWatched(t *testing.T) {
	scenario{
		lan:     &network{noDHCP: true},
		cmdline: "boot.break=image rootfs={url} init={init}",
		story: []step{
			shows("network: eth0: discovering", "network: eth0: discovering ("), dhcp(), prompt,
			types("cat /run/netstage/links.json\r"),
			shows(`"links":[{"name":"eth0"`, `"state":"bound","address":"10.77.0.`, `"winner":true`),
			types("exit\r"),
		},
	}.run(t)
}

// A download that stands because the link has lost its carrier says so.
func TestDownloadTellsOfTheLink(t *testing.T) {
	scenario{
		lan:     mirrored(faulty.Behaviour{End: faulty.EndStall, Cut: 4096}),
		cmdline: "rootfs={url} init={init} rootfs.floor=65536/3",
		story:   []step{shows("image 0%"), cable(false), shows("eth0: no carrier, ", "; image"), cable(true)},
		shown:   []string{"stalled: "},
	}.run(t)
}
