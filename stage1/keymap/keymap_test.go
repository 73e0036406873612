package keymap

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// plain is a map in which every key of maps 0 and 4 means its number.
func plain() []byte {
	text := append([]byte(magic), make([]byte, maps)...)
	text[len(magic)], text[len(magic)+4] = 1, 1
	for range 2 {
		for k := range keys {
			text = binary.NativeEndian.AppendUint16(text, uint16(k))
		}
	}
	return text
}

func TestParse(t *testing.T) {
	entries, err := Parse(plain())
	if err != nil || len(entries) != 2*keys || entries[30] != (Entry{0, 30, 30}) || entries[keys+1] != (Entry{4, 1, 1}) {
		t.Errorf("%d entries, %v", len(entries), err)
	}
	for want, text := range map[string]string{
		"no key map": "keymap", "cut short": string(plain()[:400]), "1 bytes after": string(plain()) + "x",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if err := Load(filepath.Join(t.TempDir(), "none"), "/dev/tty0"); err != nil {
		t.Error(err)
	}
}

// What loadkeys writes is what is read: on a German keyboard z is where y is on
// an American one.
func TestLoadkeys(t *testing.T) {
	if _, err := exec.LookPath("loadkeys"); err != nil {
		t.Skip("needs loadkeys: run qemu-tests/setup/deps.sh")
	}
	file := filepath.Join(t.TempDir(), "map")
	if err := os.WriteFile(file, []byte("keymaps 0-1\nkeycode 21 = z\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	text, err := exec.Command("loadkeys", "-b", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	entries, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	const y = 21 // KEY_Y of linux/input-event-codes.h
	for _, e := range entries {
		if e.Map == 0 && e.Key == y && e.Value&0xff != 'z' {
			t.Errorf("%+v", e)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(plain())
	f.Fuzz(func(t *testing.T, text []byte) { Parse(text) })
}
