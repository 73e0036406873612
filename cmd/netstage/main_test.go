package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"netstage/cmd/netstage/initrd/fake"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"netstage": main})
}

// TestCommands runs the tool as a user does: testdata/script/*.txtar. $MODULES
// is a lib/modules/VERSION folder.
func TestCommands(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", RequireExplicitExec: true, Setup: func(env *testscript.Env) error {
		dir := filepath.Join(env.WorkDir, ".modules/1.2.3")
		env.Setenv("MODULES", dir)
		repository, err := filepath.Abs("../..")
		if err != nil {
			return err
		}
		env.Setenv("REPOSITORY", repository)
		for _, name := range []string{"HOME", "GOCACHE", "GOMODCACHE", "GOPROXY", "GOFLAGS", "GONOSUMDB", "GOSUMDB"} { // for make
			if value := os.Getenv(name); value != "" {
				env.Setenv(name, value)
			}
		}
		return writeModules(dir)
	}})
}

func writeModules(dir string) error {
	const v = "vermagic=1.2.3 SMP"
	for name, text := range map[string][]byte{
		"kernel/drivers/block/loop.ko":                 fake.Module(v, "name=loop"),
		"kernel/drivers/net/virtio_net.ko":             fake.Module(v, "name=virtio_net", "alias=virtio:d00000001v*"),
		"kernel/drivers/net/ethernet/intel/igb/igb.ko": fake.Module(v, "name=igb", "alias=pci:v00008086d00001533sv*sd*bc*sc*i*", "depends=i2c-algo-bit", "firmware=x.bin"),
		"kernel/drivers/i2c/algos/i2c-algo-bit.ko":     fake.Module(v, "name=i2c_algo_bit"),
		"kernel/sound/pci/snd-card.ko":                 fake.Module(v, "name=snd_card", "alias=pci:v00008086d00002668sv*"),
		"kernel/drivers/net/usb/r8152.ko":              fake.Module(v, "name=r8152", "alias=usb:v0BDAp8153d*dc*dsc*dp*ic02isc06ip00in*"),
		"modules.builtin":                              []byte("kernel/drivers/virtio/virtio_pci.ko\n"),
		"modules.builtin.modinfo":                      []byte("nic.alias=pci:v00001AF4d*\x00"),
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(file, text, 0o666); err != nil {
			return err
		}
	}
	return nil
}
