package initrd

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netstage/stage1/modindex"
)

// kernelTrees returns the lib/modules/VERSION folders of unpacked distribution
// kernels; the Makefile puts them into build/kernels.
func kernelTrees(t *testing.T) []string {
	t.Helper()
	root := os.Getenv("NETSTAGE_KERNELS")
	if root == "" {
		root = "../../../build/kernels"
	}
	trees, _ := filepath.Glob(filepath.Join(root, "*/lib/modules/*"))
	if len(trees) == 0 {
		t.Skip("no kernels in build/kernels or $NETSTAGE_KERNELS")
	}
	return trees
}

// TestRealKernel packs real kernels, twice, and holds the packed index against
// depmod's and modprobe's for the same files.
func TestRealKernel(t *testing.T) {
	for _, tree := range kernelTrees(t) {
		t.Run(filepath.Base(tree), func(t *testing.T) {
			o := Options{KernelModules: tree, Init: agent(t)}
			if !strings.Contains(tree, "cloud") {
				o.Compression = None // 55 MB of modules: their index is what matters
			}
			image, r := build(t, o)
			again, _ := build(t, o)
			if !bytes.Equal(image, again) {
				t.Error("two builds differ")
			}
			t.Logf("%d modules, %d bytes, %d compressed, %v", len(r.Modules), r.Size, r.Compressed, r.Took)
			if filepath.Base(tree) != r.Version {
				t.Errorf("version %s", r.Version)
			}
			for _, want := range []string{"virtio_net", "vmxnet3", "hv_netvsc", "xen_netfront", "ena", "mlx5_core", "squashfs", "erofs", "overlay", "loop", "dm_verity", "dm_mod"} {
				if !slices.Contains(r.Modules, want) {
					t.Errorf("%s is not packed", want)
				}
			}
			compareWithModprobe(t, unpack(t, image), r)
		})
	}
}

func compareWithModprobe(t *testing.T, dir string, r Report) {
	if _, err := exec.LookPath("depmod"); err != nil {
		t.Skip("depmod is not installed (package kmod)")
	}
	modules := filepath.Join(dir, "lib/modules", r.Version)
	ix, err := modindex.Open(modules)
	if err != nil {
		t.Fatal(err)
	}
	ours := map[string][]string{}
	for _, name := range r.Modules {
		if ours[name], err = ix.Resolve(name); err != nil {
			t.Fatal(err)
		}
		slices.Sort(ours[name])
	}
	before := sortedLines(t, filepath.Join(modules, "modules.alias"))
	// depmod finds dependencies by symbols, not by what modules say.
	if out, err := exec.Command("depmod", "-b", dir, r.Version).CombinedOutput(); err != nil {
		t.Fatalf("depmod: %v\n%s", err, out)
	}
	if diff := cmp.Diff(sortedLines(t, filepath.Join(modules, "modules.alias")), before); diff != "" {
		t.Errorf("modules.alias (-depmod +ours):\n%s", diff)
	}
	config := t.TempDir() // -C keeps the host's configuration out, and the tree's modules.softdep
	if err := os.Symlink(filepath.Join(modules, "modules.softdep"), filepath.Join(config, "softdep.conf")); err != nil {
		t.Fatal(err)
	}
	for _, name := range r.Modules {
		out, err := exec.Command("modprobe", "-C", config, "-d", dir, "-S", r.Version, "-D", name).Output()
		if err != nil {
			t.Fatalf("modprobe -D %s: %v", name, err)
		}
		var want []string
		for line := range strings.Lines(string(out)) {
			if f := strings.Fields(line); f[0] == "insmod" {
				want = append(want, f[1])
			}
		}
		slices.Sort(want)
		if diff := cmp.Diff(slices.Compact(want), ours[name]); diff != "" {
			t.Errorf("%s (-modprobe +ours):\n%s", name, diff)
		}
	}
}

func sortedLines(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// sanDrivers are for disks on a network of their own.
var sanDrivers = []string{"be2iscsi", "bfa", "bnx2fc", "bnx2i", "csiostor", "fnic", "lpfc", "qedf", "qedi", "qla2xxx", "qla4xxx"}

// TestDisksOfRealKernels has the driver of each disk controller that a
// distribution's kernel has: whatever lies where those lie, and is for a card.
func TestDisksOfRealKernels(t *testing.T) {
	for _, tree := range kernelTrees(t) {
		if strings.Contains(tree, "cloud") {
			continue
		}
		t.Run(filepath.Base(tree), func(t *testing.T) {
			_, r := build(t, Options{KernelModules: tree, Init: agent(t), Disks: true, Modules: []string{"virtio_net"}, Compression: None})
			for _, want := range []string{
				"ahci", "nvme", "virtio_blk", "virtio_scsi", "sd_mod", "sr_mod", "usb_storage", "uas", "hv_storvsc", "vmw_pvscsi", "xen_blkfront", "nd_pmem", "nfit", "vmd",
				"megaraid", "megaraid_mbox", "megaraid_sas", "mpt3sas", "mptsas", "mptspi", "mptfc", "sym53c8xx", "am53c974", "BusLogic", "esas2r", "aic7xxx", "aic79xx",
				"3w_xxxx", "3w_9xxx", "ips", "ipr", "hptiop", "stex", "mvumi", "myrb", "dc395x", "initio", "qla1280", "snic", "mtip32xx", "ufshcd_pci",
			} {
				if !slices.Contains(r.Modules, want) {
					t.Errorf("%s is not packed", want)
				}
			}
			cards := 0
			for _, folder := range []string{"scsi", "message/fusion", "ata", "nvme/host", "ufs", "mmc/host"} {
				_ = filepath.WalkDir(filepath.Join(tree, "kernel/drivers", folder), func(path string, _ os.DirEntry, err error) error {
					if err != nil || !modindex.IsModule(path) {
						return err
					}
					out, err := exec.Command("modinfo", "-F", "alias", path).Output()
					if err != nil {
						t.Fatal(err)
					}
					name := modindex.Name(path)
					if !strings.Contains("\n"+string(out), "\npci:") || slices.Contains(sanDrivers, name) {
						return nil
					}
					if cards++; !slices.Contains(r.Modules, name) {
						t.Errorf("%s is not packed, which is for %s", name, strings.Fields(string(out))[0])
					}
					return nil
				})
			}
			if cards < 80 {
				t.Errorf("only %d drivers of cards were looked at", cards)
			}
			for _, name := range sanDrivers {
				if slices.Contains(r.Modules, name) {
					t.Errorf("%s is packed", name)
				}
			}
			t.Logf("%d drivers of cards; %d modules, %d bytes", cards, len(r.Modules), r.Size)
		})
	}
}
