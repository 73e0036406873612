package rundir

import (
	"os"
	"path/filepath"
	"testing"
)

// A reader finds the old file or the new one; what can't be written leaves the
// old one.
func TestReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a/b.json")
	if err := ReplaceJSON(path, map[string]int{"version": 1}); err != nil {
		t.Fatal(err)
	}
	if err := ReplaceJSON(path, func() {}); err == nil {
		t.Error("a function is no JSON")
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "{\"version\":1}\n" {
		t.Errorf("%q, %v", text, err)
	}
	if err := Replace(path, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
		t.Errorf("left there: %v, %v", files, err)
	}
	if err := Replace(filepath.Join(path, "below a file"), nil); err == nil {
		t.Error("a file is taken for a folder")
	}
}
