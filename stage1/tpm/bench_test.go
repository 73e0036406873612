package tpm_test

import (
	"errors"
	"testing"
	"time"

	"netstage/stage1/tpm"
	"netstage/stage1/tpm/swtpm"
)

// What a boot asks of its TPM, one that is a program: a chip takes a hundred
// times as long for a signature.
func BenchmarkBoot(b *testing.B) {
	machine, _ := swtpm.Start(b, b.TempDir())
	banks, err := machine.Banks()
	if err != nil {
		b.Fatal(err)
	}
	size := 0
	took := map[string]time.Duration{}
	timed := func(what string, do func() error) {
		start := time.Now()
		if err := do(); err != nil {
			b.Fatalf("%s: %v", what, err)
		}
		took[what] += time.Since(start)
	}
	for b.Loop() {
		timed("ms to measure 3 texts", func() error {
			var all error
			for range 3 {
				all = errors.Join(all, machine.Extend(8, banks, []byte("netstage-policy\n")))
			}
			return all
		})
		timed("ms to remember a serial", func() error {
			return errors.Join(machine.WriteNV(0x01a90e57, make([]byte, 264)), func() error { _, err := machine.ReadNV(0x01a90e57); return err }())
		})
		var key tpm.Key
		timed("ms to make a key", func() (err error) { key, err = machine.NewKey(); return err })
		timed("ms to quote", func() error {
			attest, signature, err := machine.Quote(key, make([]byte, 32), 0xfbff)
			size = len(attest) + len(signature) + len(key.Public)
			return err
		})
		timed("ms to forget the key", func() error { return machine.Forget(key) })
	}
	b.ReportMetric(float64(size), "bytes_of_a_quote_and_its_key")
	for what, d := range took {
		b.ReportMetric(float64(d.Microseconds())/1000/float64(b.N), what[:2]+"_"+underscored(what[3:]))
	}
}

// underscored is a unit as testing wants it, without blanks.
func underscored(s string) string {
	b := []byte(s)
	for i := range b {
		if b[i] == ' ' {
			b[i] = '_'
		}
	}
	return string(b)
}
