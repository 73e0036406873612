package qemutests

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"netstage/cmd/netstage/vm"
)

// unpackers are programs that unpack what a kernel's file has in it, by how
// that begins.
var unpackers = map[string][]string{"\x28\xb5\x2f\xfd": {"zstd", "-dc"}, "\xfd7zXZ\x00": {"xz", "-dc", "--single-stream"}}

// unpacked is the kernel of a machine. One that takes QEMU seconds to unpack
// itself is unpacked once, here, where QEMU itself starts it. Firmware knows
// nothing of the initrd then, and would put there what it has for disks and a
// TPM: those machines start the kernel as it is.
func unpacked(t testing.TB, c vm.Config) string {
	t.Helper()
	kernel := c.Kernel
	if !c.Direct || c.UEFI || len(c.Drives) > 0 || len(c.ExtraArgs) > 0 {
		return kernel
	}
	built.Lock()
	defer built.Unlock()
	if path, ok := built.paths[kernel]; ok {
		return path
	}
	packed, err := os.ReadFile(kernel)
	if err != nil {
		t.Fatal(err)
	}
	path := kernel
	for magic, program := range unpackers {
		payload := payload(packed)
		if !bytes.HasPrefix(payload, []byte(magic)) {
			continue
		}
		cmd := exec.Command(program[0], program[1:]...)
		cmd.Stdin = bytes.NewReader(payload)
		content, err := cmd.Output()
		if err != nil || !bytes.HasPrefix(content, []byte("\x7fELF")) {
			t.Fatalf("unpack %s: %v, %d bytes that are no program", kernel, err, len(content))
		}
		path = filepath.Join(built.dir, fmt.Sprintf("vmlinux-%d", len(built.paths)))
		writeFile(t, path, string(content))
	}
	built.paths[kernel] = path
	return path
}

// payload is what a kernel's file unpacks when it is started, as
// Documentation/arch/x86/boot.rst has it: behind the sectors of the setup code,
// with the size that it unpacks to at its end.
func payload(kernel []byte) []byte {
	if len(kernel) < 0x250 || string(kernel[0x202:0x206]) != "HdrS" {
		return nil
	}
	setup := (int(kernel[0x1f1]) + 1) * 512
	offset, length := int(binary.LittleEndian.Uint32(kernel[0x248:])), int(binary.LittleEndian.Uint32(kernel[0x24c:]))
	if from := setup + offset; length > 4 && from+length <= len(kernel) {
		return kernel[from : from+length-4]
	}
	return nil
}
