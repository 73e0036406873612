package qemutests

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"netstage/stage1"
)

// panicking builds an agent of which a step panics: the one that the file
// /panics names, once. The agent's own sources have no such hook; the compiler
// is given others in the place of one file.
func panicking(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	name, err := filepath.Abs("../stage1/step/runner.go")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	const runs = "\terr := step.Run(ctx)\n"
	if strings.Count(string(source), runs) != 1 {
		t.Fatalf("%s runs its steps in another way", name)
	}
	changed := strings.Replace(string(source), runs, `
	if name, _ := os.ReadFile("/panics"); string(name) == step.Name {
		os.Remove("/panics")
		var nobody *Step
		step.Name = nobody.Name
	}
`+runs, 1)
	changed = strings.Replace(changed, "import (\n", "import (\n\t\"os\"\n", 1)
	writeFile(t, dir+"/runner.go", changed)
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{name: dir + "/runner.go"}})
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir+"/overlay.json", string(overlay))
	out := filepath.Join(dir, "stage1")
	cmd := exec.Command("go", "build", "-overlay", dir+"/overlay.json", "-o", out, agent)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, text)
	}
	return out
}

// A panic in whatever step: PID 1 survives it, and offers the ladder with the
// panic's own words; a key starts the boot again, which then succeeds.
func TestPanicInEachStep(t *testing.T) {
	t.Parallel()
	program := panicking(t)
	for _, name := range stage1.StepNames() {
		t.Run(name, scenario{
			init: program, copies: inInitrd, files: map[string]string{"/panics": name}, cmdline: "init={init}",
			story: []step{
				shows("boot failed: panic", "nil pointer dereference", "What to do:", "please report it", "Keys: r reboot"), types(" "),
			},
			shown: []string{name + " ("},
		}.run)
	}
}
