package qemutests

import (
	"net"
	"os"
	"strings"
	"testing"

	"netstage/cmd/netstage/vm"
	"netstage/fetch/faulty"
	"netstage/qemu-tests/system"
)

// fullKernel has the drivers of the cards that machines and hypervisors have.
const fullKernel = "6.1-full"

// emptyHub is a network with carrier and nobody on it.
const emptyHub = "hubport,hubid=7"

// The image comes through every model of card that QEMU shares with machines
// and other hypervisors, the one of three that has a cable with a network at
// its other end: by DHCP, and by fixed addresses in the kernel's and in
// dracut's form.
func TestQEMUModelsOfCards(t *testing.T) {
	t.Parallel()
	a := store(t, classic())
	const live = "52:54:00:00:00:03"
	c := guestWith(t, fullKernel, []string{"e1000", "e1000e", "8139cp", "8139too", "vmxnet3", "virtio_net"})
	for _, card := range []struct {
		model, driver, cmdline string
		want                   []string
	}{
		{"virtio-net-pci", "virtio_net", "", nil},
		{"e1000", "e1000", "ip=dhcp", nil},
		{"e1000e", "e1000e", "ip=10.0.2.77:10.0.2.2:10.0.2.2:255.255.255.0:node7:lan0:off:10.0.2.3 ifname=lan0:" + live,
			[]string{"renamed to lan0", "lan0: 10.0.2.77/24 via 10.0.2.2", "!DISCOVER", "left alone"}},
		{"rtl8139", "8139cp", "", nil},
		{"vmxnet3", "vmxnet3", "ip=10.0.2.78::10.0.2.2:24:node7:enx525400000003:none:1400",
			[]string{"10.0.2.78/24 via 10.0.2.2", "left alone"}},
	} {
		t.Run(card.model, func(t *testing.T) {
			t.Parallel()
			c := c
			c.NICs = []vm.NIC{
				{Model: card.model, MAC: "52:54:00:00:00:01"},
				{Model: "virtio-net-pci", MAC: "52:54:00:00:00:02", Backend: emptyHub},
				{Model: card.model, MAC: live},
			}
			c.Direct, c.AnyNIC, c.Image, c.Init, c.Append = true, true, a.path, system.Init, "loglevel=4 "+card.cmdline
			m := start(t, c)
			if err := m.SetLink(m.ctx, 0, false); err != nil {
				t.Fatal(err)
			}
			want := append(card.want, card.driver+" "+live+", ", `"mac": "`+live+`"`, "verified", "stage 2 done")
			if !strings.Contains(card.cmdline, "lan0") && !strings.Contains(card.cmdline, "enx") {
				want = append(want, "52:54:00:00:00:01, no carrier yet", "virtio_net 52:54:00:00:00:02, carrier", "10.0.2.15/24 via 10.0.2.2")
			}
			m.end(vm.PowerOff, want...)
		})
	}
}

// A card whose driver was not packed is named, and so is the driver.
func TestQEMUMissingDriver(t *testing.T) {
	t.Parallel()
	c := guestWith(t, fullKernel, []string{"virtio_net"})
	c.NICs = []vm.NIC{{Model: "e1000"}}
	c.Direct, c.AnyNIC, c.Image, c.Init = true, true, store(t, classic()).path, system.Init
	c.Append = "loglevel=4 boot.network_timeout=1 boot.fail_timeout=1"
	start(t, c).end(vm.Reset, "boot failed: no-driver", "[8086:100e] has no driver: pack e1000 into the initrd (--module e1000)",
		"Network:", "!stage 2: pid 1")
}

// The card that iPXE booted from is the one, although the other has a network
// and a server too.
func TestQEMUBootIFByIPXE(t *testing.T) {
	t.Parallel()
	c := guestPacked(t, xzModules)
	c.NICs = []vm.NIC{{MAC: "52:54:00:00:00:02"}}
	// Without a ROM of its own a card can't boot.
	c.ExtraArgs = []string{"-netdev", "user,id=other", "-device", "virtio-net-pci,netdev=other,mac=52:54:00:00:00:01,romfile="}
	c.Image, c.Init = store(t, classic()).path, system.Init
	start(t, c).end(vm.PowerOff, "52:54:00:00:00:01 left alone, BOOTIF=52:54:00:00:00:02",
		"10.0.2.15/24 via 10.0.2.2", `"mac": "52:54:00:00:00:02"`, "verified", "stage 2 done")
}

// A network without IPv4: the address by router advertisement, the image from
// an IPv6 address.
func TestQEMUOnlyIPv6(t *testing.T) {
	t.Parallel()
	a := store(t, classic())
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(a.path)
	if err != nil {
		t.Fatal(err)
	}
	server := faulty.Serve(l, nil, content)
	t.Cleanup(func() { server.Close() })
	c := guestWith(t, xzModules, []string{"virtio_net"})
	c.NICs = []vm.NIC{{Backend: "user,ipv4=off"}}
	c.Direct, c.Init = true, system.Init
	// The host, as QEMU's IPv6 network has it.
	url := strings.Replace(server.URL("image.squashfs"), "[::1]", "[fec0::2]", 1)
	c.Append = "ip=auto6 rootfs=" + url + " rootfs.sha256=" + a.sha256
	start(t, c).end(vm.PowerOff, "fec0::5054:ff:fe12:3456/64 via fe80::2", "MiB from [fec0::2]", "verified", "stage 2 done")
}
