package efivar

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
)

func TestVariable(t *testing.T) {
	s := Store(t.TempDir())
	if _, err := s.Read("A"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no variable: %v", err)
	}
	if err := s.Delete("A"); err != nil {
		t.Errorf("delete what is not there: %v", err)
	}
	for _, content := range []string{"\x01\x02", "\x01\x03"} {
		if err := s.Write("A", []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Read("A"); err != nil || string(got) != content {
			t.Errorf("read %q, %v", got, err)
		}
	}
	raw, err := os.ReadFile(s.path("A"))
	if err != nil || string(raw) != "\x07\x00\x00\x00\x01\x03" {
		t.Errorf("the file has %q, %v", raw, err)
	}
	if !strings.HasPrefix(s.path("A"), string(s)+"/A-") || len(s.path("A")) != len(s)+len("/A-")+36 {
		t.Errorf("path %s", s.path("A"))
	}
	if err := s.Delete("A"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read("A"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("deleted: %v", err)
	}
}

// Neither a variable that somebody else made of it, nor one too long.
func TestVariableOfAnotherSize(t *testing.T) {
	s := Store(t.TempDir())
	for _, content := range []string{"", "\x07\x00\x00", strings.Repeat("x", 4+most+1)} {
		if err := os.WriteFile(s.path("A"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Read("A"); err == nil {
			t.Errorf("%d bytes: read %q", len(content), got)
		}
	}
	if err := s.Write("B", make([]byte, most+1)); err == nil {
		t.Error("too much was written")
	}
}
