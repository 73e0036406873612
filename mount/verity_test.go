package mount

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"netstage/mount/dm"
	"netstage/stage1/fault"
)

// How the device is described to the kernel; that the kernel agrees, and what
// it does then, is shown in QEMU.
func TestVerityTable(t *testing.T) {
	null, err := os.Open("/dev/null") // 1:3
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	zero, err := os.Open("/dev/zero") // 1:5
	if err != nil {
		t.Fatal(err)
	}
	defer zero.Close()
	v := Verity{RootHash: []byte{0xab, 0xcd}, DataBlockSize: 4096, HashBlockSize: 1024, DataBlocks: 10}
	for want, change := range map[string]func(){
		"1 1:3 1:5 4096 1024 10 1 sha256 abcd -":                            func() {},
		"1 1:3 1:5 4096 1024 10 1 sha256 abcd 01ff":                         func() { v.Salt = []byte{1, 255} },
		"1 1:3 1:5 4096 1024 10 1 sha256 abcd 01ff 1 restart_on_corruption": func() { v.Salt, v.OnCorruption = []byte{1, 255}, RestartOnCorruption },
	} {
		v.Salt, v.OnCorruption = nil, ""
		change()
		table, err := v.over(null, zero)
		if err != nil || table != (dm.Table{Sectors: 80, Kind: "verity", Params: want}) || v.uuid() != "CRYPT-VERITY-00000000000000000000000000000000-" {
			t.Errorf("%+v, %v; want %q", table, err, want)
		}
	}
}

// A kernel without a device mapper says so, and nothing stays behind.
func TestVerityWithoutDeviceMapper(t *testing.T) {
	file := squashfs(t, map[string]string{"a": "b"})
	if _, err := os.Stat(dm.Control); err == nil { // hidden
		dir := filepath.Dir(dm.Control)
		if err := (Mount{Type: "tmpfs", Source: "tmpfs", Target: dir}).Do(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { Discard(dir) })
	}
	tree, err := os.CreateTemp(t.TempDir(), "tree")
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if err := tree.Truncate(8192); err != nil {
		t.Fatal(err)
	}
	_, err = OpenVerityImage(file, Verity{Tree: tree, RootHash: make([]byte, 32), DataBlockSize: 4096, HashBlockSize: 4096, DataBlocks: 1})
	if fault.ClassOf(err) != fault.Verity || !strings.Contains(err.Error(), "--module +dm_verity") {
		t.Errorf("%v", err)
	}
	large := Verity{Tree: tree, RootHash: make([]byte, 32), DataBlockSize: 2 * os.Getpagesize(), HashBlockSize: 4096, DataBlocks: 1}
	if _, err = OpenVerityImage(file, large); fault.ClassOf(err) != fault.Verity || !strings.Contains(err.Error(), "larger than this kernel's pages") || strings.Contains(err.Error(), "--module") {
		t.Errorf("%v", err)
	}
	for _, name := range []string{file.Name(), tree.Name()} {
		if loops := loopsOf(t, name); len(loops) > 0 {
			t.Errorf("%s is still behind %v", name, loops)
		}
	}
}
