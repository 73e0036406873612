package main

import (
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// The rooms of the house: what each may import of this module, by folder. A
// folder stands for what is below it too. All may import stage1/fault, which
// knows none of them.
var mayImport = map[string][]string{
	"cmd/stage1":       {"cmd/stage1", "debug", "fetch", "mount", "netup", "nix", "stage1"},
	"cmd/netstage":     {"cmd/netstage", "debug/sentence", "debug/sshd", "fetch", "nix", "stage1/cmdline", "stage1/fault", "stage1/kmod", "stage1/measure", "stage1/modindex", "stage1/password", "stage1/report", "stage1/tpm/wire"},
	"stage1":           {"fetch", "mount", "netup", "nix", "stage1/attest", "stage1/bootcount", "stage1/config", "stage1/devices", "stage1/disks", "stage1/heartbeat", "stage1/image", "stage1/keymap", "stage1/kmod", "stage1/measure", "stage1/network", "stage1/report", "stage1/reporting", "stage1/root", "stage1/step", "stage1/stream"},
	"stage1/attest":    {"fetch", "stage1/efivar", "stage1/measure", "stage1/report", "stage1/rundir", "stage1/serials", "stage1/tpm"},
	"stage1/bootcount": {"stage1/efivar"},
	"stage1/cmdline":   {},
	"stage1/config":    {"fetch", "mount", "netup/ipparam", "nix", "stage1/cmdline", "stage1/heartbeat", "stage1/password"},
	"stage1/devices":   {"stage1/cmdline", "stage1/kmod", "stage1/modindex", "stage1/step"},
	"stage1/disks":     {"fetch", "mount", "stage1/config", "stage1/step", "stage1/uevent"},
	"stage1/image":     {"fetch", "mount", "netup", "stage1/config", "stage1/report", "stage1/rundir", "stage1/stream"},
	"stage1/efivar":    {"mount"},
	"stage1/fault":     {},
	"stage1/heartbeat": {"stage1/step"},
	"stage1/keymap":    {},
	"stage1/kmod":      {"stage1/modindex", "stage1/uevent"},
	"stage1/measure":   {"stage1/cmdline", "stage1/tpm"},
	"stage1/modindex":  {},
	"stage1/network":   {"fetch", "netup", "stage1/config", "stage1/rundir", "stage1/step"},
	"stage1/password":  {},
	"stage1/pid1":      {},
	"stage1/poster":    {"fetch", "stage1/report", "stage1/step"},
	"stage1/report":    {"fetch", "stage1/cmdline"},
	"stage1/reporting": {"fetch", "netup", "stage1/attest", "stage1/config", "stage1/heartbeat", "stage1/image", "stage1/kmod", "stage1/network", "stage1/poster", "stage1/report", "stage1/rundir", "stage1/step", "stage1/stream"},
	"stage1/root":      {"mount", "nix", "stage1/config", "stage1/disks", "stage1/image", "stage1/kmod"},
	"stage1/rundir":    {},
	"stage1/serials":   {},
	"stage1/step":      {},
	"stage1/uevent":    {},
	"stage1/stream":    {"fetch", "mount", "netup", "stage1/poster", "stage1/report"},
	"stage1/tpm":       {"stage1/tpm/wire"},
	"stage1/tpm/wire":  {},
	"stage1/tpm/swtpm": {"stage1/report", "stage1/tpm"}, // of tests
	"debug":            {"debug"},
	"fetch":            {"fetch"},
	"mount":            {"mount"},
	"mount/dm":         {},
	"mount/iso9660":    {},
	"mount/loop":       {},
	"mount/nbd":        {},
	"netup":            {"netup"},
	"nix":              {},
	"nix/nixosinit":    {"nix"},
}

// hostOnly are libraries that must not reach the agent.
var hostOnly = []string{
	"github.com/spf13/cobra", "github.com/spf13/pflag", "github.com/u-root/u-root/pkg/cpio", "github.com/creack/pty", "github.com/google/go-cmp",
	"netstage/cmd/netstage", "netstage/fetch/faulty", "netstage/fetch/oci/peer", "oras.land/oras-go", "github.com/opencontainers", "testing",
}

func goList(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	return strings.Fields(string(out))
}

func TestPackagesKnowOnlyTheirOwn(t *testing.T) {
	checked := 0
	for _, line := range strings.Split(strings.TrimSpace(strings.Join(goList(t, "-f", `{{.ImportPath}}>{{join .Imports ","}}`, "netstage/..."), "\n")), "\n") {
		pkg, imports, _ := strings.Cut(line, ">")
		room, ok := roomOf(strings.TrimPrefix(pkg, "netstage/"))
		if !ok {
			continue // the tests'
		}
		checked++
		for imported := range strings.SplitSeq(imports, ",") {
			folder, own := strings.CutPrefix(imported, "netstage/")
			if !own || folder == "stage1/fault" {
				continue
			}
			if !slices.ContainsFunc(mayImport[room], func(allowed string) bool {
				return folder == allowed || strings.HasPrefix(folder, allowed+"/") && allowed != "stage1"
			}) && !(room == "cmd/stage1" && strings.HasPrefix(folder, "stage1/")) {
				t.Errorf("%s imports %s, which %s may not", pkg, imported, room)
			}
		}
	}
	if checked < 20 {
		t.Errorf("only %d packages were looked at", checked)
	}
}

// roomOf finds the folder with a rule that pkg is in.
func roomOf(pkg string) (string, bool) {
	for ; pkg != "."; pkg = path.Dir(pkg) {
		if _, ok := mayImport[pkg]; ok {
			return pkg, true
		}
	}
	return "", false
}

func TestAgentHasNoHostLibraries(t *testing.T) {
	deps := goList(t, "-deps", "netstage/cmd/stage1")
	if !slices.Contains(deps, "netstage/stage1/pid1") {
		t.Fatal("these are not the agent's dependencies")
	}
	for _, dep := range deps {
		for _, library := range hostOnly {
			if dep == library || strings.HasPrefix(dep, library+"/") {
				t.Errorf("the agent links %s", dep)
			}
		}
	}
}
