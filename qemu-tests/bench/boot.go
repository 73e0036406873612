// Package bench boots the agent and stand-ins for what it replaces, side by
// side, and compares the figures.
package bench

import (
	"context"
	"fmt"
	"strings"
	"time"

	"netstage/cmd/netstage/vm"
	"netstage/qemu-tests/system"
)

// A Contender is one way to boot an image.
type Contender struct {
	Name   string
	Initrd string // path
	Size   int64  // of the initrd, in bytes
	Verify bool   // the image's SHA-256 is on the command line
}

// patience is how long a boot may take on a busy machine.
const patience = 5 * time.Minute

// accelerator tells what emulates the processor.
func accelerator() string {
	if vm.HaveKVM() {
		return "KVM"
	}
	return "TCG"
}

// Boot boots an image once, with a memory of so many MiB, and returns what it
// took and the console. All contenders get the same machine and command line,
// with the loglevel that NixOS has by default.
func Boot(ctx context.Context, kernel string, c Contender, i Image, memory int) (Sample, string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	m, err := vm.Start(ctx, vm.Config{
		Kernel: kernel, Initrds: []string{c.Initrd}, Image: i.Path, Unverified: !c.Verify, Init: system.Init,
		Append: "loglevel=4 boot.fail_timeout=1", Memory: memory, Direct: true,
	})
	if err != nil {
		return Sample{}, "", err
	}
	defer m.Close()
	end, err := m.Wait(ctx)
	if err == nil && end != vm.PowerOff {
		err = fmt.Errorf("the machine ended by %s", end)
	}
	var s Sample
	if err == nil {
		s, err = ParseSample(m.Console())
	}
	if told := strings.Contains(m.Console(), "bench: rootfs.sha256="+i.SHA256); err == nil && told != c.Verify {
		err = fmt.Errorf("the image's SHA-256 on the command line: %t, want %t", told, c.Verify)
	}
	if err != nil {
		return Sample{}, "", fmt.Errorf("boot of %s: %w\n--- console ---\n%s\n--- to see it again ---\n%s", c.Name, err, m.Console(), m.Command())
	}
	s.Peak = m.PeakMemory()
	return s, m.Console(), nil
}
