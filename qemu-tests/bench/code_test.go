package bench

import (
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// The agent, stripped as it is, tells what its packages take.
func TestTrustLines(t *testing.T) {
	agent := filepath.Join(t.TempDir(), "stage1")
	if out, err := exec.Command("../../cmd/stage1/build.sh", agent).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	code, err := CodeOf(agent)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := trustLines(code)
	if err != nil || len(lines) != len(trust) {
		t.Fatalf("%q, %v", lines, err)
	}
	t.Log(lines, largest(code, 16))
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

func TestLargest(t *testing.T) {
	code := map[string]int64{
		"github.com/a/b/c": 30, "github.com/a/b": 20, "golang.org/x/sys/unix": 40, "crypto/tls": 25, "crypto/sha256": 10, "net/http": 12, "net/http/internal": 1, "main": 3,
	}
	if got, want := largest(code, 4), []string{"github.com/a/b 50", "golang.org/x/sys 40", "crypto 35", "net/http 13"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
