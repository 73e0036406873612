package bench

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// The agent, stripped as it is, tells what its packages take.
func TestTrustLines(t *testing.T) {
	agent := filepath.Join(t.TempDir(), "stage1")
	if out, err := exec.Command("../../cmd/stage1/build.sh", agent).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines, err := trustLines(agent)
	if err != nil || len(lines) != len(trust) {
		t.Fatalf("%q, %v", lines, err)
	}
	t.Log(lines)
	if _, err := CodeOf("/bin/sh"); err == nil {
		t.Error("a shell is a program of Go's")
	}
}

func TestPackageOf(t *testing.T) {
	for function, want := range map[string]string{
		"netstage/stage1/tpm.(*TPM).run": "netstage/stage1/tpm", "netstage/stage1/tpm/wire.(*Reader).Bytes": "netstage/stage1/tpm/wire",
		"main.main": "main", "golang.org/x/sys/unix.Open": "golang.org/x/sys/unix", "slices.Sorted[go.shape.string]": "slices", "": "",
		"netstage/stage1/attest.init.func1": "netstage/stage1/attest", "slices.F[a/b.c]": "slices",
	} {
		if got := packageOf(function); got != want {
			t.Errorf("%q: %q, want %q", function, got, want)
		}
	}
}
