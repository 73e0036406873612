package qemutests

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"netstage/cmd/netstage/initrd"
	"netstage/cmd/netstage/vm"
	"netstage/qemu-tests/system"
)

// emptyTable is an ACPI table without contents (ACPI 6.5, 5.2.6).
func emptyTable() []byte {
	var b bytes.Buffer
	b.WriteString("SSDT")
	binary.Write(&b, binary.LittleEndian, uint32(36))
	b.Write([]byte{2, 0}) // revision, and a checksum to come
	b.WriteString("NETSTG" + "NETSTAGE")
	binary.Write(&b, binary.LittleEndian, uint32(1))
	b.WriteString("NTST")
	binary.Write(&b, binary.LittleEndian, uint32(1))
	table, sum := b.Bytes(), byte(0)
	for _, c := range table {
		sum += c
	}
	table[9] = -sum
	return table
}

// Microcode and ACPI tables come first in the initrd: the kernel finds them
// there before it unpacks anything, and unpacks the rest.
func TestQEMUEarlyArchive(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, dir+"/tree/kernel/firmware/acpi/netstage.aml", string(emptyTable()))
	writeFile(t, dir+"/tree/kernel/x86/microcode/GenuineIntel.bin", "of no processor here")
	pack := exec.Command("sh", "-c", "find kernel | cpio --quiet -o -H newc")
	pack.Dir = dir + "/tree"
	archive, err := pack.Output()
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir+"/early.cpio", string(archive))

	a := store(t, classic())
	c := guestOf(t, plainModules, initrd.Options{Modules: []string{"virtio_net"}, Compression: initrd.Zstd, Prepend: []string{dir + "/early.cpio"}})
	out, err := exec.Command(build(t, "netstage/cmd/netstage"), "inspect", c.Initrds[0]).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "/kernel/x86/microcode/GenuineIntel.bin; first and not compressed") {
		t.Errorf("inspect: %v\n%s", err, out)
	}
	if begin, err := os.ReadFile(filepath.Clean(c.Initrds[0])); err != nil || !bytes.HasPrefix(begin, archive) {
		t.Errorf("the initrd does not begin with the archive: %v", err)
	}
	c.Direct, c.Image, c.Init, c.Append = true, a.path, system.Init, "loglevel=7"
	start(t, c).end(vm.PowerOff, "SSDT ACPI table found in initrd [kernel/firmware/acpi/netstage.aml][0x24]", "stage 2 done")
}
