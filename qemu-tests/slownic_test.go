package qemutests

import (
	"testing"
	"time"

	"netstage/cmd/netstage/vm"
)

// A NIC whose driver takes its time, and no other: it is waited for, and told
// of.
func TestQEMUSlowNICDriver(t *testing.T) {
	t.Parallel()
	within(3*time.Minute, scenario{
		kernel: xzModules, modules: []string{"vmxnet3"},
		qemu:    vm.Config{Direct: true, Image: "{image}", Init: "{init}", NICs: []vm.NIC{{Model: "vmxnet3"}}},
		files:   map[string]string{"/etc/modprobe.d/test.conf": "install vmxnet3 sleep 22; modprobe -i vmxnet3\n"},
		cmdline: "loglevel=4",
		shown:   []string{"drivers: going on; still starting after 15s: vmxnet3", "has no driver: vmxnet3 is still starting"},
	})(t)
}
