package attest

import (
	"bytes"
	"context"
	"encoding/hex"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"netstage/stage1/measure"
	"netstage/stage1/tpm"
	"netstage/stage1/tpm/swtpm"
)

// opened is a machine with a TPM and a key in it, whose logs go below root.
func opened(t *testing.T, root string) *Machine {
	t.Helper()
	chip, _ := swtpm.Start(t, t.TempDir())
	banks, err := chip.Banks()
	if err != nil {
		t.Fatal(err)
	}
	key, err := chip.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return &Machine{Log: slog.New(slog.DiscardHandler), Root: root, opened: true, tpm: chip, banks: banks, key: &key}
}

// A report that is not waited for any more, since an operator chose to try
// again, costs the boot that follows neither its measurements nor its quote.
func TestQuoteThatNobodyWaitsFor(t *testing.T) {
	m := opened(t, t.TempDir())
	given, giveUp := context.WithCancel(t.Context())
	giveUp()
	var reports sync.WaitGroup
	for range 3 {
		reports.Go(func() { m.Quote(given, []byte("nonce")) })
	}
	m.Measure("netstage-image\n")
	reports.Wait()
	q, err := m.Quote(t.Context(), []byte("nonce"))
	if err != nil {
		t.Fatal(err)
	}
	want := measure.Extended([32]byte{}, "netstage-image\n")
	if i := measure.PCR; q.PCRs[i].Index != i || q.PCRs[i].SHA256 != hex.EncodeToString(want[:]) {
		t.Errorf("PCR 8 is %s, want %x", q.PCRs[i].SHA256, want)
	}
}

// A retry that comes to the same measures nothing more; the logs are for root
// alone, and systemd's goes on where it stands.
func TestLeave(t *testing.T) {
	root := t.TempDir()
	m := opened(t, root)
	for _, e := range []measure.Event{"a\n", "b\n", "a\n"} {
		m.Measure(e)
	}
	log := filepath.Join(root, systemdLog)
	if err := os.MkdirAll(filepath.Dir(log), 0o755); err != nil {
		t.Fatal(err)
	}
	const before = "\x1e{}\n"
	if err := os.WriteFile(log, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	banks := m.banks
	m.Leave()
	if m.Quotes() {
		t.Error("it signs still")
	}
	m.Measure("c\n")
	m.Leave()
	for name, want := range map[string][]byte{
		binaryLog:  measure.Binary(banks, []measure.Event{"a\n", "b\n"}),
		systemdLog: append([]byte(before), measure.JSON(banks, []measure.Event{"a\n", "b\n"})...),
	} {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil || !bytes.Equal(text, want) {
			t.Errorf("%s: %q, %v; want %q", name, text, err, want)
		}
		if info, err := os.Stat(filepath.Join(root, name)); err != nil || info.Mode().Perm() != fs.FileMode(0o600) {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

// A TPM that does not take a measurement has none in the log, either.
func TestMeasurementThatFails(t *testing.T) {
	m := &Machine{Log: slog.New(slog.DiscardHandler), banks: []tpm.Algorithm{tpm.SHA256},
		tpm: tpm.New(func([]byte) ([]byte, error) { return []byte{0x80, 1, 0, 0, 0, 10, 0, 0, 1, 1}, nil }, func() error { return nil })}
	if m.Measure("a\n"); len(m.events) != 0 {
		t.Errorf("%q", m.events)
	}
}
