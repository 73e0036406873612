package reporting

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netstage/stage1/report"
)

func TestMachine(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string]string
		want  report.Machine
	}{
		"a server": {map[string]string{
			"class/dmi/id/sys_vendor": "ACME\n", "class/dmi/id/product_name": "Node 4 \n", "class/dmi/id/product_serial": "A7K1131\n",
			"class/dmi/id/product_uuid": "4C4C4544-0000-2010-8020-80C04F202020\n",
			"class/net/lo/type":         "772\n", "class/net/lo/address": "00:00:00:00:00:00\n",
			"class/net/eth0/type": "1\n", "class/net/eth0/address": "52:54:00:12:34:56\n",
			"class/net/eth0.7/type": "1\n", "class/net/eth0.7/address": "52:54:00:12:34:56\n",
			"class/net/eth1/type": "1\n", "class/net/eth1/address": "52:54:00:12:34:57\n",
		}, report.Machine{
			Vendor: "ACME", Product: "Node 4", Serial: "A7K1131", UUID: "4c4c4544-0000-2010-8020-80c04f202020",
			MACs: []string{"52:54:00:12:34:56", "52:54:00:12:34:57"},
		}},
		"a board": {map[string]string{
			"firmware/devicetree/base/model": "Raspberry Pi 4\x00", "firmware/devicetree/base/serial-number": "10000000abc\x00",
		}, report.Machine{Product: "Raspberry Pi 4", Serial: "10000000abc", MACs: []string{}}},
		"nothing": {nil, report.Machine{MACs: []string{}}},
	} {
		root := t.TempDir()
		for file, text := range test.files {
			file = filepath.Join(root, "sys", file)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(test.want, machineAt(root)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
