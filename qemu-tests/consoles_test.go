package qemutests

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"netstage/cmd/netstage/vm"
	"netstage/qemu-tests/nsmachine"
)

// unread connects to the other end of a console and reads nothing of it.
func unread(socket string) step {
	return func(p *played) {
		p.t.Helper()
		for range 600 { // QEMU makes it when it starts
			if _, err := os.Stat(socket); err == nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		c, err := net.Dial("unix", socket)
		if err != nil {
			p.t.Fatal(err)
		}
		p.t.Cleanup(func() { c.Close() })
	}
}

// calm checks that nothing but the countdown has followed the screen.
func calm(storm string) step {
	return func(p *played) {
		p.t.Helper()
		shown := p.console()
		if after := shown[strings.LastIndex(shown, "Keys: "):]; strings.Contains(after, storm) {
			p.t.Errorf("the kernel log covers the screen:\n%s", after)
		}
	}
}

// A hypervisor's console whose reader has stopped, a netconsole whose peer is
// dead and whose link goes down, a kernel that logs without end, the limit of
// what may be logged, and a NIC whose driver never starts beside one that is
// fine: the boot gets its image by the network, and what then fails has a
// screen that stays to be read.
func TestQEMUConsolesThatStop(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "hvc")
	within(3*time.Minute, scenario{
		kernel: xzModules, modules: []string{"virtio_net", "vmxnet3", "+netconsole"},
		qemu: vm.Config{
			Direct: true, Image: "{image}", Init: "/nix/store/missing/init", NICs: []vm.NIC{{}, {Model: "vmxnet3"}},
			ExtraArgs: []string{"-device", "virtio-serial-pci", "-chardev", "socket,id=hvc,server=on,wait=off,path=" + socket, "-device", "virtconsole,chardev=hvc"},
		},
		copies: map[string]string{"/storm": build(t, "./testdata/storm")},
		files: map[string]string{
			"/etc/modules-load.d/test.conf": "netconsole\nstorm\n",
			"/etc/modprobe.d/test.conf": "install storm /storm\ninstall vmxnet3 sleep 1000\n" +
				"options netconsole netconsole=6665@10.0.2.15/eth0,6666@10.0.2.99/52:54:00:00:00:99\n",
		},
		cmdline: "console=hvc0 console=ttyS0 printk.devkmsg=ratelimit boot.break=network boot.fail_timeout=9",
		story: []step{
			unread(socket), shows("network logging started"), prompt,
			qmp("set_link", map[string]any{"name": "nic0", "up": false}),
			types("sleep 3; echo storm''y\r"), shows("stormy"),
			qmp("set_link", map[string]any{"name": "nic0", "up": true}),
			types("exit\r"),
			shows("boot failed: no-init", "Keys: r reboot", "Reboot in 9 s", "Reboot in 4 s"), calm("storm"), types("r"),
		},
		ends: ending{nsmachine.Rebooted, nil},
		shown: []string{
			"drivers: going on; still starting after 15s: vmxnet3", "network (5/8): done", "image (6/8): done", "!lines suppressed", "!may drop lines",
		},
	})(t)
}
