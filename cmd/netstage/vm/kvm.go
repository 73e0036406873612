package vm

import (
	"bufio"
	"io"
	"os"
	"slices"
	"strings"
)

// HaveKVM tells whether this host runs guests at full speed.
func HaveKVM() bool {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	f.Close()
	cpus, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return false
	}
	defer cpus.Close()
	return virtualizes(cpus)
}

// virtualizes tells from /proc/cpuinfo whether the processor has VMX or SVM. A
// /dev/kvm without either is that of a guest whose KVM runs only kernels made
// for it: QEMU aborts there, or Debian's kernels hang at their first
// instruction in long mode.
func virtualizes(cpuinfo io.Reader) bool {
	lines := bufio.NewScanner(cpuinfo)
	for lines.Scan() {
		name, flags, _ := strings.Cut(lines.Text(), ":")
		if strings.TrimSpace(name) != "flags" {
			continue
		}
		have := strings.Fields(flags)
		return slices.Contains(have, "vmx") || slices.Contains(have, "svm")
	}
	return false
}
