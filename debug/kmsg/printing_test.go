package kmsg

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// While the kernel is hushed the handler writes on the console what the kernel
// would have; afterwards all is as before.
func TestHush(t *testing.T) {
	for name, test := range map[string]struct{ printk, ignore, hushed, shown string }{
		"default":         {"7\t4\t1\t7\n", "N\n", "2\t4\t1\t7\n", "[    0.000000] w1\n"},
		"quiet already":   {"1\t4\t1\t7\n", "N\n", "1\t4\t1\t7\n", "[    0.000000] w0\n[    0.000000] w1\n[    0.000000] w2\n"},
		"ignore_loglevel": {"7\t4\t1\t7\n", "Y\n", "7\t4\t1\t7\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range map[string]string{"printk": test.printk, "ignore": test.ignore} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			p := ReadPrinting(filepath.Join(dir, "printk"), filepath.Join(dir, "ignore"))
			other := ReadPrinting(p.path, filepath.Join(dir, "ignore"))
			var console bytes.Buffer
			log := slog.New(NewHandler(HandlerOptions{Kmsg: New(&records{}), Console: &console, Printing: p, Now: func() time.Duration { return 0 }}))
			log.Warn("w0")
			restore, err := p.Hush()
			if err != nil {
				t.Fatal(err)
			}
			if text, _ := os.ReadFile(p.path); string(text) != test.hushed {
				t.Errorf("hushed: %q", text)
			}
			log.Warn("w1")
			if err := other.Reset(); err != nil {
				t.Fatal(err)
			}
			if text, _ := os.ReadFile(p.path); string(text) != test.printk {
				t.Errorf("reset by another process: %q", text)
			}
			if err := restore(); err != nil {
				t.Fatal(err)
			}
			if text, _ := os.ReadFile(p.path); string(text) != test.printk {
				t.Errorf("restored: %q", text)
			}
			log.Warn("w2")
			if got := console.String(); got != test.shown {
				t.Errorf("on the console: %q", got)
			}
		})
	}
	if _, err := ReadPrinting(os.DevNull, os.DevNull).Hush(); err != nil {
		t.Errorf("where nothing is printed: %v", err)
	}
}
