package qemutests

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// docs/reliability.md names tests that there are.
func TestReliabilityNamesTests(t *testing.T) {
	text, err := os.ReadFile("../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	sources, err := exec.Command("git", "-C", "..", "grep", "-h", "^func Test", "--", "*_test.go").Output()
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("`(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(string(text), -1)
	if len(names) < 20 {
		t.Errorf("only %d tests are named", len(names))
	}
	for _, name := range names {
		if !strings.Contains(string(sources), "func "+name[1]+"(") {
			t.Errorf("there is no %s", name[1])
		}
	}
}
