package qemutests

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"netstage/cmd/netstage/image"
	"netstage/cmd/netstage/initrd"
	"netstage/cmd/netstage/vm"
	"netstage/qemu-tests/nsmachine"
	"netstage/qemu-tests/system"
)

// What boot.network=keep leaves for stage 2, and that nothing is left without.
func TestKeptNetworkIsDescribed(t *testing.T) {
	t.Parallel()
	tell := system.Script(system.Tell + `
for file in /run/netstage/network.json /run/systemd/network/70-netstage.network /etc/resolv.conf; do
	if [ -e $file ]; then sed "s|^|$file: |" $file; else echo "no $file"; fi
done` + system.PowerOff)
	for name, s := range map[string]scenario{
		"kept": {cmdline: "boot.network=keep", shown: []string{
			`network.json:   "addresses": [`, `network.json:   "source": "dhcp"`, "70-netstage.network: DHCP=ipv4",
			"/etc/resolv.conf: nameserver 10.77.0.1", "link: eth0 up",
		}},
		"not kept": {shown: []string{"no /run/netstage/network.json", "no /run/systemd/network/70-netstage.network", "no /etc/resolv.conf", "link: eth0 down"}},
	} {
		s.lan, s.image = &network{}, system.Files{"init": tell, "nixos-version": "25.05"}
		s.cmdline += " rootfs={url} init={init}"
		t.Run(name, s.run)
	}
}

// A network without IPv4, as the default finds it: the address by DHCPv6, the
// image beside the boot file that DHCPv6 names. And one with both families, in
// which the image is reached by one and its server's name known by the other.
func TestIPv6Networks(t *testing.T) {
	t.Parallel()
	tell := system.Script(system.Tell + `
sed "s|^|network.json: |" /run/netstage/network.json
sed "s|^|networkd: |" /run/systemd/network/70-netstage.network
sed "s|^|resolv.conf: |" /etc/resolv.conf` + system.PowerOff)
	for name, s := range map[string]scenario{
		"only IPv6": {
			lan:     &network{dhcp6: true, options: []string{"--dhcp-option=option6:bootfile-url,http://[" + nsmachine.Gateway6 + "]:{port}/boot.ipxe"}},
			cmdline: "rootfs=image.squashfs",
			shown: []string{
				"eth0: 2001:db8:77::", "/64 via fe80::77, dns 2001:db8:77::1", "from [2001:db8:77::1]:", `network.json:   "source": "dhcp6"`, `"boot_file": "http://[2001:db8:77::1]:`,
				"networkd: IPv6AcceptRA=yes", "networkd: DUIDType=link-layer", "resolv.conf: nameserver 2001:db8:77::1", "!networkd: DHCP=",
			},
		},
		"both": {
			lan: &network{ipv6: true, options: []string{"--enable-ra", "--dhcp-range=2001:db8:77::,ra-only,64,1h", "--ra-param=br0,mtu:1400,4",
				"--dhcp-option=option6:dns-server", "--address=/six.test/" + nsmachine.Gateway6, "--local=/test/"}},
			cmdline: "rootfs=http://six.test:{port}/image.squashfs",
			shown:   []string{`"source": "ra"`, `"other_source": "dhcp"`, "networkd: DHCP=ipv4", "networkd: IPv6AcceptRA=yes", "resolv.conf: nameserver 10.77.0.1", "verified", "!MTUBytes"},
		},
	} {
		s.image = system.Files{"init": tell, "nixos-version": "25.05"}
		s.cmdline = "boot.network=keep rootfs.sha256={sha256} init={init} " + s.cmdline
		t.Run(name, s.run)
	}
}

// tellNetworkd tells what systemd-networkd made of the network it found.
const tellNetworkd = `[Unit]
Description=Tell what networkd does
After=systemd-networkd.service
Wants=systemd-networkd.service
[Service]
ExecStart=/bin/sh -c 'until networkctl list --no-legend | grep -q " configured"; do sleep 1; done; \
  journalctl -b -u systemd-networkd --no-pager | sed "s/^/journal: /"; networkctl status --no-pager | sed "s/^/networkd: /"; systemctl poweroff'
StandardOutput=tty
TTYPath=/dev/ttyS0
[Install]
WantedBy=multi-user.target
`

// withNetworkd is an image of Debian whose systemd-networkd tells what it does.
func withNetworkd(t *testing.T) string {
	t.Helper()
	root := setupDir(t, "debian")
	dir := t.TempDir()
	if err := system.WriteDebian(root, dir, "squashfs"); err != nil {
		t.Fatal(err)
	}
	unit := one(t, dir+"/*/etc/systemd/system/tell.service")
	if err := os.Remove(unit); err != nil { // it may share its file with another tree
		t.Fatal(err)
	}
	writeFile(t, unit, tellNetworkd)
	report, err := image.Build(context.Background(), image.Options{
		Source: dir, Output: filepath.Join(t.TempDir(), "image.squashfs"), Compression: image.Compression{Algorithm: "zstd", Level: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	return report.Path
}

// A real systemd-networkd takes the kept link over and renews its lease.
func TestQEMUNetworkdKeepsTheAddress(t *testing.T) {
	t.Parallel()
	scenario{
		kernel: xzModules, qemu: vm.Config{Direct: true, Image: withNetworkd(t), Init: system.DebianClassic}, cmdline: "boot.network=keep",
		ends:  poweredOff,
		shown: []string{"Configuring with /run/systemd/network/70-netstage.network", "DHCPv4 address 10.0.2.15/24", "Address: 10.0.2.15"},
	}.play(t)
}

// guestWith is guest with an initrd that holds other modules.
func guestWith(t testing.TB, kernel string, modules []string, files ...initrd.File) vm.Config {
	t.Helper()
	return guestOf(t, kernel, initrd.Options{Modules: modules, Files: files})
}

// twoNICs is a machine on two networks of QEMU's.
func twoNICs(t *testing.T, cmdline string) vm.Config {
	c := guestWith(t, xzModules, []string{"virtio_net", "bonding"})
	c.NICs = []vm.NIC{{Model: "virtio-net-pci", MAC: "52:54:00:00:00:01"}, {Model: "virtio-net-pci", MAC: "52:54:00:00:00:02"}}
	c.Direct, c.Image, c.Init, c.Append = true, store(t, classic()).path, system.Init, cmdline
	return c
}

// A bond fetches the image over whichever of its slaves has a cable.
func TestQEMUBond(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cmdline string
		want    []string
	}{
		"active-backup": {"bond=bond0:eth0,eth1:mode=active-backup,miimon=50 ip=bond0:dhcp boot.network=keep",
			[]string{"bond0: 10.0.2.15/24", `"link": "bond0"`, "link: bond0 up", "inet 10.0.2.15/24"}},
		"by its first slave's address, and flushed": {"bond=bond7:eth0,eth1:mode=1",
			[]string{"bond7: 10.0.2.15/24", "!link: bond7", "link: eth0 down", "link: eth1 down", "!inet 10.0.2.15"}},
	} {
		t.Run(name, func(t *testing.T) {
			start(t, twoNICs(t, test.cmdline)).end(vm.PowerOff, append(test.want, "eth0: a slave of", "eth1: a slave of", "bond 52:54:00:00:00:01, carrier", "stage 2 done")...)
		})
	}
}

// A VLAN with a fixed address is made, pinned and kept; its carrier does not
// race.
func TestQEMUVLAN(t *testing.T) {
	t.Parallel()
	a := store(t, classic())
	c := guestWith(t, xzModules, []string{"virtio_net", "8021q"}, initrd.File{Source: a.path, Target: "/nix-store.squashfs"})
	c.Direct, c.Init = true, system.Init
	c.Append = "vlan=eth0.0005:eth0 ip=10.5.0.2::10.5.0.1:24::eth0.0005:none boot.network=keep"
	start(t, c).end(vm.PowerOff, "eth0.0005: made, tag 5 on eth0", "eth0.0005: 10.5.0.2/24", "inet 10.5.0.2/24",
		"link: eth0.0005 up", "!inet 10.0.2.15", "!DISCOVER", "stage 2 done")
}
