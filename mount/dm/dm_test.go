package dm

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// How a table is described to the kernel; that the kernel agrees, and that
// readers live through a swap, is shown in QEMU.
func TestTableIsEncodedAsTheKernelReadsIt(t *testing.T) {
	for _, size := range []int64{4096, 512, 10 << 30} {
		table := Linear(unix.Mkdev(43, 0), size)
		if table.Params != "43:0 0" || table.Sectors != uint64(size)/512 || table.Kind != "linear" {
			t.Errorf("%+v", table)
		}
	}
	for n := range 20 {
		params := strings.Repeat("x", n)
		text := Table{Sectors: 7, Kind: "linear", Params: params}.encode()
		if len(text)%8 != 0 || string(text[24:31]) != "linear\x00" || !strings.HasPrefix(string(text[unix.SizeofDmTargetSpec:]), params+"\x00") {
			t.Errorf("%d: %q", n, text)
		}
		if next := int(text[20]) | int(text[21])<<8; next != len(text) {
			t.Errorf("%d: next is %d of %d", n, next, len(text))
		}
	}
}
