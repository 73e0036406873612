package qemutests

import (
	"os"
	"strings"
	"testing"

	"netstage/cmd/netstage/vm"
	"netstage/fetch/faulty"
	"netstage/qemu-tests/nsmachine"
	"netstage/qemu-tests/system"
	"netstage/qemu-tests/trunk"
)

// tellStacked tells of bonds, and of what systemd-networkd will read.
const tellStacked = `
for file in /proc/net/bonding/* /run/systemd/network/*; do
	[ -e $file ] && sed "s|^|$file: |" $file
done
`

func stacked(t *testing.T) artifact {
	return store(t, system.Files{"init": system.Script(tellStacked + system.Tell + system.PowerOff), "nixos-version": "25.05"})
}

// serve serves an image in the LAN, with faults, and returns its URL.
func serve(t *testing.T, lan *nsmachine.LAN, a artifact, script ...faulty.Behaviour) (*faulty.Server, string) {
	t.Helper()
	content, err := os.ReadFile(a.path)
	if err != nil {
		t.Fatal(err)
	}
	server := faulty.Serve(lan.Listen(t, nsmachine.Gateway+":0"), nil, content, script...)
	t.Cleanup(func() { server.Close() })
	return server, server.URL("image.squashfs")
}

// onTrunk is a machine with as many cards on a switch, behind which is a LAN
// with a DHCP server and an image.
func onTrunk(t *testing.T, s *trunk.Trunk, cards int, a artifact, script ...faulty.Behaviour) vm.Config {
	t.Helper()
	lan := nsmachine.NewLAN(t)
	lan.DHCP(t)
	_, url := serve(t, lan, a, script...)
	s.Start(t, lan.Tap(t), cards)
	c := guestWith(t, xzModules, []string{"virtio_net", "bonding", "8021q"})
	for i := range cards {
		c.NICs = append(c.NICs, vm.NIC{MAC: "52:54:00:00:00:0" + string(rune('1'+i)), Backend: s.Backend(i)})
	}
	c.Direct, c.AnyNIC, c.Init = true, true, system.Init
	c.Append = "boot.network=keep rootfs=" + url + " rootfs.sha256=" + a.sha256 + " "
	return c
}

// A switch that takes and gives frames of one VLAN alone.
func TestQEMUTaggedNetwork(t *testing.T) {
	t.Parallel()
	c := onTrunk(t, &trunk.Trunk{Tag: 5}, 1, stacked(t))
	c.Append += "vlan=vlan5:eth0 ip=vlan5:dhcp"
	start(t, c).end(vm.PowerOff, "vlan5: made, tag 5 on eth0", "vlan5: vlan 52:54:00:00:00:01, carrier", "vlan5: 10.77.0.", "verified",
		`"link": "vlan5"`, "70-netstage-eth0.network: VLAN=vlan5", "70-netstage-vlan5.netdev: Id=5", "stage 2 done", "link: vlan5 up")
}

// The same over a bond of two cards, with a switch that speaks LACP. A bond
// wants to know a card's speed for that, which QEMU's virtio does not tell.
func TestQEMUTaggedNetworkOverLACP(t *testing.T) {
	t.Parallel()
	c := onTrunk(t, &trunk.Trunk{Tag: 7, LACP: true}, 2, stacked(t))
	full := guestWith(t, fullKernel, []string{"e1000", "bonding", "8021q"})
	c.Kernel, c.Initrds = full.Kernel, full.Initrds
	for i := range c.NICs {
		c.NICs[i].Model = "e1000"
	}
	c.Append += "bond=bond0:eth0,eth1:mode=802.3ad,lacp_rate=fast,miimon=50 vlan=bond0.7:bond0 ip=bond0.7:dhcp"
	start(t, c).end(vm.PowerOff, "bond0: a bond of eth0, eth1, 802.3ad", "bond0.7: made, tag 7 on bond0", "bond0.7: 10.77.0.", "verified",
		"Partner Mac Address: "+trunk.PartnerMAC, "port state: 63",
		"70-netstage-bond0.netdev: LACPTransmitRate=fast", "70-netstage-bond0.network: VLAN=bond0.7", "70-netstage-eth1.network: PermanentMACAddress=52:54:00:00:00:02",
		"70-netstage-eth1.network: Bond=bond0", "stage 2 done", "link: bond0.7 up")
}

// The cable of the active card is pulled out while the image comes. Before
// that, the process that did the work was killed: the second finds the bond of
// the first.
func TestQEMUBondLosesACable(t *testing.T) {
	t.Parallel()
	c := onTrunk(t, &trunk.Trunk{}, 2, stacked(t), faulty.Behaviour{Rate: 200 << 10, Times: -1})
	c.Append += "bond=bond0:eth0,eth1:mode=active-backup,miimon=50 ip=bond0:dhcp boot.break=image boot.shell_on_fail rootfs.floor=1024/30"
	m := start(t, c)
	m.expect("leaves it")
	m.send("kill -9 $(ps | grep ' boot$' | head -n 1 | while read pid rest; do echo $pid; done)\r")
	m.expect("Keys: i shell")
	m.send("\r")
	m.expect(`breakpoint before step "image"`)
	m.expect("leaves it")
	m.send("exit\r")
	m.expect("image: 2 MiB from")
	if err := m.SetLink(m.ctx, 0, false); err != nil {
		t.Fatal(err)
	}
	m.end(vm.PowerOff, "verified", "Currently Active Slave: eth1", "stage 2 done")
}

// A real systemd-networkd takes a VLAN over a bond as it is, and leaves what is
// beneath it alone.
func TestQEMUNetworkdKeepsAStack(t *testing.T) {
	t.Parallel()
	image := withNetworkd(t)
	digest, err := os.ReadFile(image + ".sha256")
	if err != nil {
		t.Fatal(err)
	}
	c := onTrunk(t, &trunk.Trunk{Tag: 5}, 2, artifact{image, strings.Fields(string(digest))[0]})
	c.Append += "bond=bond0:eth0,eth1:mode=active-backup,miimon=50 vlan=vlan5:bond0 ip=vlan5:dhcp"
	c.Init = system.DebianClassic
	start(t, c).end(vm.PowerOff, "vlan5: 10.77.0.", "Configuring with /run/systemd/network/70-netstage.network", "vlan5: DHCPv4 address 10.77.0.",
		"Configuring with /run/systemd/network/70-netstage-bond0.network", "netdev exists, using existing without changing its parameters", "!Link DOWN", "!Lost carrier")
}
