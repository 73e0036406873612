package tpm_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"netstage/stage1/tpm"
	"netstage/stage1/tpm/swtpm"
)

func TestPCRs(t *testing.T) {
	machine, _ := swtpm.Start(t, t.TempDir())
	banks, err := machine.Banks()
	if err != nil {
		t.Fatal(err)
	}
	if err := machine.Extend(8, banks, []byte("a")); err != nil {
		t.Fatal(err)
	}
	if err := machine.Extend(8, banks, []byte("b")); err != nil {
		t.Fatal(err)
	}
	values, err := machine.PCRs(1<<24 - 1)
	if err != nil {
		t.Fatal(err)
	}
	want := tpm.SHA256.Sum(append(tpm.SHA256.Sum(append(make([]byte, 32), tpm.SHA256.Sum([]byte("a"))...)), tpm.SHA256.Sum([]byte("b"))...))
	if len(values) != 24 || !bytes.Equal(values[8], want) || !bytes.Equal(values[9], make([]byte, 32)) {
		t.Errorf("%d PCRs, PCR 8 is %x, want %x", len(values), values[8], want)
	}
	if err := machine.Extend(99, banks, nil); err == nil || !errors.As(err, new(tpm.Refusal)) {
		t.Errorf("PCR 99: %v", err)
	}
}

// An index is made when it is first written, and is there after power-off.
func TestNV(t *testing.T) {
	const index = 0x01a90e57
	dir := t.TempDir()
	machine, off := swtpm.Start(t, dir)
	if _, err := machine.ReadNV(index); !errors.Is(err, tpm.ErrNotThere) {
		t.Fatalf("a new TPM: %v", err)
	}
	for _, content := range []string{"0123456789abcdef", "fedcba9876543210"} {
		if err := machine.WriteNV(index, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got, err := machine.ReadNV(index); err != nil || string(got) != content {
			t.Errorf("%q, %v", got, err)
		}
	}
	off()
	machine, _ = swtpm.Start(t, dir)
	if got, err := machine.ReadNV(index); err != nil || string(got) != "fedcba9876543210" {
		t.Errorf("after power-off: %q, %v", got, err)
	}
	if err := machine.WriteNV(index, []byte("of another size")); err == nil {
		t.Error("an index of another size is written")
	}
}

// A quote is one for tpm2-tools; the key is the same after power-off.
func TestQuote(t *testing.T) {
	dir := t.TempDir()
	var before []byte
	for range 2 {
		machine, off := swtpm.Start(t, dir)
		key, err := machine.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		nonce := []byte("nonce of a server")
		attest, signature, err := machine.Quote(key, nonce, 1<<8|1<<11)
		if err != nil {
			t.Fatal(err)
		}
		if err := machine.Forget(key); err != nil {
			t.Error(err)
		}
		if before != nil && !bytes.Equal(before, key.Public) {
			t.Error("another key after power-off")
		}
		before = key.Public
		checkQuote(t, key.Public, attest, signature, nonce)
		off()
	}
}

func checkQuote(t *testing.T, public, attest, signature, nonce []byte) {
	t.Helper()
	tool, err := exec.LookPath("tpm2_checkquote")
	if err != nil {
		t.Skip("needs tpm2-tools (apt-get install tpm2-tools)")
	}
	dir := t.TempDir()
	for name, text := range map[string][]byte{"key": append([]byte{byte(len(public) >> 8), byte(len(public))}, public...), "attest": attest, "signature": signature} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for nonce, good := range map[string]bool{hex.EncodeToString(nonce): true, "00": false} {
		cmd := exec.Command(tool, "-u", "key", "-m", "attest", "-s", "signature", "-g", "sha256", "-q", nonce)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); (err == nil) != good {
			t.Errorf("tpm2_checkquote with nonce %s: %v\n%s", nonce, err, out)
		}
	}
}

// Whatever answers, a boot goes on.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte{0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x01, 0x8b})
	f.Add([]byte{0x80, 0x01, 0, 0, 0, 30, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0x0b, 3, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, answer []byte) {
		machine := tpm.New(func([]byte) ([]byte, error) { return answer, nil }, func() error { return nil })
		if len(answer) >= 10 && (answer[8] == 0x09) { // try again later
			return
		}
		machine.Banks()
		machine.PCRs(1 << 8)
		machine.ReadNV(1)
		machine.WriteNV(1, []byte("x"))
		if key, err := machine.NewKey(); err == nil {
			machine.Quote(key, nil, 1)
		}
	})
}
