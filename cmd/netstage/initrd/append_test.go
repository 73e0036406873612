package initrd

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestAppend(t *testing.T) {
	dir := t.TempDir()
	base, image, out := filepath.Join(dir, "base"), filepath.Join(dir, "image"), filepath.Join(dir, "out")
	for name, text := range map[string]string{base: "12345", image: "the image"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Append(t.Context(), base, []File{{image, "/nix-store.squashfs"}}, out); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(text, []byte("12345\x00\x00\x00070701")) {
		t.Errorf("begins with %q", text[:20])
	}
	// What follows is what cpio reads.
	cmd := exec.Command("cpio", "-i", "--quiet", "--to-stdout")
	cmd.Stdin = bytes.NewReader(text[8:])
	if got, err := cmd.CombinedOutput(); err != nil || string(got) != "the image" {
		t.Errorf("cpio: %v, %q", err, got)
	}

	// 2 GiB are refused before a byte is written. The file has holes only.
	if err := os.Truncate(image, 1<<31-6); err != nil {
		t.Fatal(err)
	}
	var large *TooLargeError
	other := filepath.Join(dir, "other")
	if err := Append(t.Context(), base, []File{{image, "/nix-store.squashfs"}}, other); !errors.As(err, &large) || !strings.Contains(err.Error(), "2047 MiB") {
		t.Errorf("2 GiB: %v", err)
	}
	if found, _ := filepath.Glob(filepath.Join(dir, "*other*")); len(found) > 0 {
		t.Errorf("left behind: %v", found)
	}
}
