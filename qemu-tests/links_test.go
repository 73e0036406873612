package qemutests

import (
	"testing"

	"netstage/qemu-tests/nsmachine"
	"netstage/qemu-tests/system"
	"netstage/stage1/kmod"
)

// Why there is no network, by class, on a screen with what every card is seen
// to do; and once the cause is gone, a key boots the machine.
func TestNetworkFailures(t *testing.T) {
	t.Parallel()
	a := store(t, classic())
	for name, test := range map[string]struct {
		nic, dhcp bool
		options   []string // of the DHCP server
		rootfs    string   // "" for one that is there
		mend      func(*testing.T, *nsmachine.LAN)
		want      []string
	}{
		"no-nic": {want: []string{"no network card found", "Network: no network card", "give it a virtio-net"}},
		"no-carrier": {
			nic:  true,
			mend: func(t *testing.T, lan *nsmachine.LAN) { lan.Cable(t, true); lan.DHCP(t) },
			want: []string{"no carrier on eth0", "eth0 ", " veth no carrier, ", "link light"},
		},
		"no-lease": {
			nic:  true,
			mend: func(t *testing.T, lan *nsmachine.LAN) { lan.DHCP(t) },
			want: []string{"no DHCP answer and no IPv6 router on eth0", "discovering (", "soliciting a router (", "right VLAN"},
		},
		"no-route": {
			nic: true, dhcp: true, options: []string{"--dhcp-option=option:router"}, rootfs: "http://192.0.2.1/image",
			want: []string{"a lease but no path on eth0", "/24, proving the path", "has no router", "option 3"},
		},
		"dns": {
			nic: true, dhcp: true, options: []string{"--address=/nowhere.test/"}, rootfs: "http://nowhere.test/image",
			want: []string{"dns: nowhere.test: no such host, asked", "10.77.0.1", "/24, proving the path", "nameserver=ADDRESS"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			release, err := kmod.Release()
			if err != nil {
				t.Fatal(err)
			}
			modules := t.TempDir() // for this kernel, and none
			writeFile(t, modules+"/modules.dep", "")
			c := nsmachine.Config{Files: map[string]string{"/lib/modules/" + release: modules}}
			lan := nsmachine.NewLAN(t)
			if test.nic {
				c.LAN = lan
			}
			if test.dhcp {
				lan.DHCP(t, test.options...)
			}
			url := test.rootfs
			if url == "" {
				_, url = serve(t, lan, a)
			}
			c.Cmdline = "boot.network_timeout=1 rootfs=" + url + " init=" + system.Init
			c.NoCarrier = name == "no-carrier"
			m := boot(t, c)
			m.Expect("boot failed: " + name)
			m.Expect("Keys: ")
			if test.mend == nil {
				m.Type("r")
				expectEnd(t, m, nsmachine.Rebooted, test.want...)
				return
			}
			test.mend(t, lan)
			m.Type(" ")
			expectEnd(t, m, nsmachine.PoweredOff, append(test.want, "stage 2 done")...)
		})
	}
}

// While the network is waited for, the console has a line that moves, and a
// file for tools says the same.
func TestNetworkIsWatched(t *testing.T) {
	t.Parallel()
	lan := nsmachine.NewLAN(t)
	a := store(t, classic())
	_, url := serve(t, lan, a)
	m := boot(t, nsmachine.Config{LAN: lan, Cmdline: "boot.break=image rootfs=" + url + " init=" + system.Init})
	m.Expect("network: eth0: discovering")
	m.Expect("network: eth0: discovering (")
	lan.DHCP(t)
	m.Expect("leaves it")
	m.Type("cat /run/netstage/links.json\r")
	m.Expect(`"links":[{"name":"eth0"`)
	m.Expect(`"state":"bound","address":"10.77.0.`)
	m.Expect(`"winner":true`)
	m.Type("exit\r")
	expectEnd(t, m, nsmachine.PoweredOff, "stage 2 done")
}
