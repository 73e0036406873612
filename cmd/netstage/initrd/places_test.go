package initrd

import (
	"bytes"
	"debug/elf"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"netstage/cmd/netstage/initrd/fake"
)

const vermagic = "vermagic=1.2.3 SMP mod_unload modversions "

// nic is a driver that its description tells from others of the name.
func nic(name, which string) []byte {
	return fake.ModuleFor(elf.EM_X86_64, []string{"alloc_etherdev_mqs", "register_netdev"},
		vermagic, "name="+name, "description="+which, "alias=pci:v00008086d00001533sv*sd*bc*sc*i*")
}

// TestWhichFileCounts packs the module that depmod's answer, or its order of
// folders, gives to the kernel.
func TestWhichFileCounts(t *testing.T) {
	const kernel = "kernel/drivers/net/ethernet/intel/igb/igb.ko"
	for name, test := range map[string]struct {
		places []string
		dep    string // modules.dep
		want   string
	}{
		"updates":                       {[]string{kernel, "updates/dkms/igb.ko", "extra/igb.ko"}, "", "updates/dkms/igb.ko"},
		"extra":                         {[]string{kernel, "extra/igb.ko", "weak-updates/igb.ko"}, "", "extra/igb.ko"},
		"weak updates":                  {[]string{kernel, "weak-updates/igb/igb.ko"}, "", kernel},
		"weak updates alone":            {[]string{"weak-updates/igb/igb.ko"}, "", "weak-updates/igb/igb.ko"},
		"a folder of its own":           {[]string{"vendor/igb.ko", "weak-updates/igb.ko"}, "", "vendor/igb.ko"},
		"depmod's answer":               {[]string{kernel, "extra/igb.ko", "weak-updates/igb.ko"}, "weak-updates/igb.ko:\n" + kernel + ".old:\n", "weak-updates/igb.ko"},
		"depmod's answer is not there":  {[]string{kernel, "extra/igb.ko"}, "updates/igb.ko:\n", "extra/igb.ko"},
		"a link that leads nowhere":     {[]string{kernel, "updates/igb.ko -> nowhere"}, "", kernel},
		"depmod's leads nowhere":        {[]string{kernel, "updates/igb.ko -> nowhere"}, "updates/igb.ko:\n", kernel},
		"a link that leads to one":      {[]string{kernel, "extra/real.file", "weak-updates/igb.ko -> ../extra/real.file", "updates/igb.ko -> ../extra/real.file"}, "", "updates/igb.ko"},
		"a name in the other spelling":  {[]string{"kernel/drivers/net/ethernet/a-b.ko", "updates/a_b.ko"}, "", "updates/a_b.ko"},
		"below the kernel, out of tree": {[]string{"kernel/updates/igb.ko"}, "", "kernel/updates/igb.ko"},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string][]byte{"kernel/drivers/block/loop.ko": fake.Module(vermagic, "name=loop")}
			for _, place := range test.places {
				if path, _, link := strings.Cut(place, " -> "); !link {
					files[path] = nic("igb", path)
				}
			}
			if test.dep != "" {
				files["modules.dep"] = []byte(test.dep + "kernel/drivers/block/loop.ko:\n")
			}
			dir := writeTree(t, files)
			for _, place := range test.places {
				if path, to, link := strings.Cut(place, " -> "); link {
					os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o755)
					if err := os.Symlink(to, filepath.Join(dir, path)); err != nil {
						t.Fatal(err)
					}
				}
			}
			image, r := build(t, Options{KernelModules: dir, Init: agent(t), Compression: None})
			if len(r.Modules) != 2 {
				t.Errorf("packed %v, want the driver and loop", r.Modules)
			}
			if !bytes.Contains(image, []byte("lib/modules/1.2.3/"+test.want+"\x00")) {
				t.Errorf("%s is not packed", test.want)
			}
		})
	}
}

// TestForeignNICs finds the drivers of NICs that the kernel has none of that
// name for, by what they use.
func TestForeignNICs(t *testing.T) {
	dir := writeTree(t, map[string][]byte{
		"kernel/drivers/block/loop.ko": fake.Module(vermagic, "name=loop"),
		"updates/dkms/r8125.ko":        fake.ModuleFor(elf.EM_X86_64, []string{"register_netdev"}, vermagic, "name=r8125", "alias=pci:v000010ECd00008125sv*"),
		"extra/dongle.ko":              fake.ModuleFor(elf.EM_X86_64, []string{"usbnet_probe"}, vermagic, "name=dongle", "alias=usb:v0BDAp8153d*"),
		"extra/radio.ko":               fake.ModuleFor(elf.EM_X86_64, []string{"register_netdevice", "wiphy_new_nm"}, vermagic, "name=radio", "alias=pci:v0000168Cd*"),
		"extra/wireguard.ko":           fake.ModuleFor(elf.EM_X86_64, []string{"register_netdevice"}, vermagic, "name=wireguard", "alias=rtnl-link-wireguard"),
		"extra/gpu.ko":                 fake.ModuleFor(elf.EM_X86_64, []string{"drm_dev_register"}, vermagic, "name=gpu", "alias=pci:v000010DEd*"),
		"kernel/drivers/usb/host/x.ko": fake.Module(vermagic, "name=x"),
	})
	_, r := build(t, Options{KernelModules: dir, Init: agent(t)})
	if want := []string{"dongle", "loop", "r8125", "x"}; !slices.Equal(r.Modules, want) {
		t.Errorf("packed %v, want %v", r.Modules, want)
	}
	if _, r := build(t, Options{KernelModules: dir, Init: agent(t), Modules: []string{"dongle"}}); !slices.Contains(r.Modules, "x") {
		t.Errorf("a USB card alone: %v, without the controllers", r.Modules)
	}
}

// TestOtherReleases takes modules of another release as the kernel would.
func TestOtherReleases(t *testing.T) {
	for name, test := range map[string]struct {
		other, foreign string
		fails          bool
	}{
		"the same ABI":       {"vermagic=1.2.0 SMP mod_unload modversions ", "weak: for 1.2.0", false},
		"without modversion": {"vermagic=1.2.0 SMP mod_unload ", "", true},
		"another kernel":     {"vermagic=1.2.0 SMP preempt mod_unload modversions ", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := writeTree(t, map[string][]byte{
				"kernel/drivers/block/loop.ko": fake.Module(vermagic, "name=loop"),
				"weak-updates/weak.ko":         fake.ModuleFor(elf.EM_X86_64, []string{"register_netdev"}, test.other, "name=weak", "alias=pci:v00001111d*"),
				"weak-updates/more.ko":         fake.Module(vermagic, "name=more"),
			})
			var b bytes.Buffer
			r, err := Build(t.Context(), Options{KernelModules: dir, Init: agent(t), Modules: []string{"weak", "more"}}, &b)
			if (err != nil) != test.fails || strings.Join(r.Foreign, ", ") != test.foreign {
				t.Errorf("%v, foreign %q", err, r.Foreign)
			}
			if err == nil && r.Version != "1.2.3" {
				t.Errorf("for the kernel %s", r.Version)
			}
		})
	}
}

func TestOtherMachine(t *testing.T) {
	dir := writeTree(t, map[string][]byte{"kernel/drivers/block/loop.ko": fake.ModuleFor(elf.EM_AARCH64, nil, vermagic, "name=loop")})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	_, err = Build(t.Context(), Options{KernelModules: dir, Init: self}, &b)
	if err == nil || !strings.Contains(err.Error(), "the modules are for EM_AARCH64: build the other agent by GOARCH=arm64 cmd/stage1/build.sh FILE, and give it by --init FILE") || b.Len() > 0 {
		t.Errorf("%v, %d bytes", err, b.Len())
	}
	if _, r := build(t, Options{KernelModules: dir, Init: agent(t)}); !slices.Equal(r.Modules, []string{"loop"}) {
		t.Errorf("a script is for any machine, packed %v", r.Modules)
	}
}

// TestFirmwareOrder takes each file from where the kernel would.
func TestFirmwareOrder(t *testing.T) {
	compressed := func(text string) []byte {
		cmd := exec.Command("zstd", "-qc")
		cmd.Stdin = strings.NewReader(text)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	places := []string{"updates/1.2.3/x.bin", "updates/x.bin", "1.2.3/x.bin", "x.bin"}
	files := map[string][]byte{"updates/1.2.3/x.bin.zst": compressed("compressed one")}
	for _, place := range places {
		files[place] = []byte("from " + place)
	}
	modules := writeTree(t, map[string][]byte{"kernel/drivers/block/loop.ko": fake.Module(vermagic, "name=loop", "firmware=x.bin")})
	for len(places) > 0 {
		image, r := build(t, Options{KernelModules: modules, Init: agent(t), FirmwareDir: writeTree(t, files), Compression: None})
		if want := "from " + places[0]; !bytes.Contains(image, []byte(want)) || !slices.Equal(r.Firmware, []string{"x.bin"}) {
			t.Errorf("not %q, of %v; %v", want, slices.Sorted(maps.Keys(files)), r.Firmware)
		}
		delete(files, places[0])
		places = places[1:]
	}
	image, _ := build(t, Options{KernelModules: modules, Init: agent(t), FirmwareDir: writeTree(t, files), Compression: None})
	if !bytes.Contains(image, []byte("compressed one")) {
		t.Error("what is compressed is not found in updates/VERSION")
	}
	if _, r := build(t, Options{KernelModules: modules, Init: agent(t)}); r.WithFirmware != 1 || r.UnpackedFiles != 1 {
		t.Errorf("without --firmware: %d modules, %d files", r.WithFirmware, r.UnpackedFiles)
	}
}

// TestAligned: whatever an archive's length, another one may follow, and the
// zstd program reads it still.
func TestAligned(t *testing.T) {
	modules := writeTree(t, map[string][]byte{"kernel/drivers/block/loop.ko": fake.Module(vermagic, "name=loop")})
	for _, compression := range []string{Zstd, ZstdSmall, None} {
		for i := range 8 {
			file := filepath.Join(t.TempDir(), "x")
			if err := os.WriteFile(file, []byte(fmt.Sprint(strings.Repeat("x", i), i*i*7919)), 0o644); err != nil {
				t.Fatal(err)
			}
			image, _ := build(t, Options{KernelModules: modules, Init: agent(t), Compression: compression, Files: []File{{file, "/x"}}})
			if len(image)%4 != 0 {
				t.Errorf("%s: %d bytes", compression, len(image))
			}
			if compression == None {
				continue
			}
			cmd := exec.Command("zstd", "-tq")
			cmd.Stdin = bytes.NewReader(image)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s, %d bytes: %v\n%s", compression, len(image), err, out)
			}
		}
	}
}
