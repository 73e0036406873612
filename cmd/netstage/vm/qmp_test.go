package vm

import (
	"bufio"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
)

// fakeQEMU answers the greeting's command, then one more with what last
// writes, and ends.
func fakeQEMU(t *testing.T, last func(io.Writer)) *qmp {
	t.Helper()
	path := filepath.Join(t.TempDir(), "qmp")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		lines := bufio.NewScanner(conn)
		for _, answer := range []func(io.Writer){func(w io.Writer) { io.WriteString(w, `{"return": {}}`) }, last} {
			if !lines.Scan() {
				return
			}
			answer(conn)
		}
	}()
	q, err := dialQMP(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.close)
	return q
}

// What ends a machine is answered, though there is nothing to read after it.
func TestLastAnswer(t *testing.T) {
	for range 100 {
		q := fakeQEMU(t, func(w io.Writer) {
			io.WriteString(w, `{"return": {}}{"event": "SHUTDOWN", "data": {"reason": "host-qmp-system-reset"}}`)
		})
		if _, err := q.command(t.Context(), "system_reset", nil); err != nil {
			t.Fatal(err)
		}
		if <-q.ended; q.reason() != "host-qmp-system-reset" {
			t.Fatalf("reason %q", q.reason())
		}
	}
}

func TestNoAnswer(t *testing.T) {
	if _, err := fakeQEMU(t, func(io.Writer) {}).command(t.Context(), "stop", nil); !errors.Is(err, errEnded) {
		t.Errorf("%v", err)
	}
	q := fakeQEMU(t, func(w io.Writer) { io.WriteString(w, `{"error": {"class": "GenericError", "desc": "no"}}`) })
	if _, err := q.command(t.Context(), "stop", nil); err == nil || err.Error() != "QEMU's stop: GenericError: no" {
		t.Errorf("%v", err)
	}
}
