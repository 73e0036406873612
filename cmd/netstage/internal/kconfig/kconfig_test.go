package kconfig

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSymbols(t *testing.T) {
	for module, want := range map[string]string{
		"r8169":      "ETHERNET NET_VENDOR_REALTEK R8169",
		"igb":        "ETHERNET NET_VENDOR_INTEL IGB",
		"mlx5_core":  "ETHERNET NET_VENDOR_MELLANOX MLX5_CORE MLX5_CORE_EN",
		"r8152":      "USB_SUPPORT USB USB_NET_DRIVERS USB_RTL8152",
		"nvme":       "BLK_DEV_NVME",
		"ahci":       "ATA SATA_AHCI",
		"virtio_net": "VIRTIO_NET",
	} {
		if got, unknown := Symbols([]string{module}); strings.Join(got, " ") != want || len(unknown) > 0 {
			t.Errorf("%s: %q, want %q; unknown %v", module, got, want, unknown)
		}
	}
	symbols, unknown := Symbols([]string{"igb", "e1000e", "nothing"})
	if want := []string{"ETHERNET", "NET_VENDOR_INTEL", "IGB", "E1000E"}; !slices.Equal(symbols, want) || !slices.Equal(unknown, []string{"nothing"}) {
		t.Errorf("%v, unknown %v", symbols, unknown)
	}
	if !strings.HasPrefix(Version(), "Linux 6.") {
		t.Errorf("the table of %q", Version())
	}
}

// TestKernelsAgree holds the table against the configuration of real kernels:
// what is a module there was made so by the symbol that the table names.
func TestKernelsAgree(t *testing.T) {
	configs, _ := filepath.Glob("../../../../build/kernels/*/boot/config-*")
	if len(configs) == 0 {
		t.Skip("no kernels; make test unpacks them")
	}
	for _, name := range configs {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		modules, checked := filepath.Join(filepath.Dir(filepath.Dir(name)), "lib/modules"), 0
		err = filepath.WalkDir(modules, func(path string, _ os.DirEntry, err error) error {
			module, _, is := strings.Cut(filepath.Base(path), ".ko")
			if err != nil || !is || !strings.Contains(path, "/drivers/net/ethernet/") {
				return err
			}
			symbols, unknown := Symbols([]string{strings.ReplaceAll(module, "-", "_")})
			if len(unknown) > 0 {
				return nil
			}
			checked++
			own := slices.DeleteFunc(symbols, func(s string) bool { return s == "MLX5_CORE_EN" })
			if last := own[len(own)-1]; !strings.Contains(string(text), "\nCONFIG_"+last+"=m\n") {
				t.Errorf("%s: %s is a module, and CONFIG_%s is not m", filepath.Base(name), module, last)
			}
			for _, menu := range own[:len(own)-1] {
				if !strings.Contains(string(text), "\nCONFIG_"+menu+"=") {
					t.Errorf("%s: %s is a module without CONFIG_%s", filepath.Base(name), module, menu)
				}
			}
			return nil
		})
		if err != nil || checked == 0 {
			t.Errorf("%s: %d modules checked, %v", name, checked, err)
		}
	}
}
