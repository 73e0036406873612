// Package qemutests boots machines: in namespaces of the host, and in QEMU.
package qemutests

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"netstage/qemu-tests/nsmachine"
)

// built are the programs under test, by their package, and images that tests
// share, by their toplevel.
var built struct {
	sync.Mutex
	dir    string
	paths  map[string]string
	images map[string]vouched
}

func TestMain(m *testing.M) {
	nsmachine.Launch()
	built.paths, built.images = map[string]string{}, map[string]vouched{}
	var remove func()
	built.dir, remove = ownFolder()
	status := m.Run()
	remove()
	os.Exit(status)
}

// agent is the package of the agent, which has a build script of its own.
const agent = "netstage/cmd/stage1"

// build compiles a package into a static program, once.
func build(t testing.TB, pkg string) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if path, ok := built.paths[pkg]; ok {
		return path
	}
	path := filepath.Join(built.dir, filepath.Base(pkg))
	cmd := exec.Command("go", "build", "-o", path, pkg)
	if pkg == agent {
		cmd = exec.Command("../cmd/stage1/build.sh", path)
	}
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if pkg == agent && raced {
		cmd = exec.Command("go", "build", "-race", "-tags", "nethttpomithttp2,netgo,osusergo",
			"-ldflags", "-linkmode external -extldflags -static", "-o", path, pkg)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	built.paths[pkg] = path
	return path
}

func writeFile(t testing.TB, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}
