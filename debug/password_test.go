package debug

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"netstage/debug/sentence"
)

// gate is a gate for "geheim" whose pauses are only noted.
func gate(log *bytes.Buffer) (*PasswordPrompt, *[]time.Duration) {
	var pauses []time.Duration
	return &PasswordPrompt{
		Check: func(password []byte) (bool, error) { return string(password) == "geheim", nil },
		Log:   slog.New(sentence.NewHandler(slog.LevelInfo, sentence.To(log))),
		pause: func(_ context.Context, d time.Duration) error {
			pauses = append(pauses, d.Round(time.Second))
			return nil
		},
	}, &pauses
}

func (op *operator) open(ctx context.Context, g *PasswordPrompt, limit time.Duration) chan bool {
	done := make(chan bool, 1)
	go func() { done <- g.Ask(ctx, op.tty, limit) }()
	return done
}

func TestGateOpensForThePassword(t *testing.T) {
	var log bytes.Buffer
	g, _ := gate(&log)
	op := sitDown(t)
	done := op.open(t.Context(), g, time.Minute)
	op.wait("Password for a shell")
	op.press("gehxx\x7f\x7feim\r")
	if !<-done {
		t.Error("closed")
	}
	op.press("\x00") // the terminal is as it was: it echoes
	op.wait("^@")
	op.mu.Lock()
	defer op.mu.Unlock()
	if text := op.shown.String() + log.String(); strings.Contains(text, "geh") {
		t.Errorf("what was typed was shown: %q", text)
	}
}

// Nothing but the password opens: whatever keys a person may hope for.
func TestGateStaysClosed(t *testing.T) {
	for _, keys := range []string{"\r", "\x03", "\x04", "\x1a", "\x1c", "geheim\x03", "geh\x04", "geheim\x15\r", "x\x7f\x7f\r"} {
		t.Run(strings.Trim(strings.ReplaceAll(keys, "\r", "Enter"), " "), func(t *testing.T) {
			var log bytes.Buffer
			g, pauses := gate(&log)
			op := sitDown(t)
			done := op.open(t.Context(), g, time.Minute)
			op.wait("Password for a shell")
			op.press(keys)
			if <-done {
				t.Error("open")
			}
			if len(*pauses) > 0 || log.Len() > 0 {
				t.Errorf("that was no wrong password: %v, %s", *pauses, log.String())
			}
		})
	}
}

// Wrong passwords cost more and more time, and going away does not help.
func TestGateGrowsSlower(t *testing.T) {
	var log bytes.Buffer
	g, pauses := gate(&log)
	op := sitDown(t)
	for range 3 {
		done := op.open(t.Context(), g, time.Minute)
		for range triesAtOnce {
			op.wait("Password for a shell")
			op.press("Geheim\r")
			op.wait("That is not the password.")
		}
		if <-done {
			t.Fatal("open")
		}
	}
	want := []time.Duration{1, 2, 4, 8, 16, 32, 60, 60}
	for i := range want {
		want[i] *= time.Second
	}
	if len(*pauses) != len(want) {
		t.Fatalf("pauses: %v", *pauses)
	}
	for i, pause := range *pauses {
		if pause != want[i] {
			t.Errorf("pause %d: %v, want %v", i, pause, want[i])
		}
	}
	if !strings.Contains(log.String(), "wrong password, number 9") || strings.Contains(log.String(), "eheim") {
		t.Errorf("the log:\n%s", log.String())
	}
	done := op.open(t.Context(), g, time.Minute)
	op.wait("Password for a shell")
	op.press("geheim\r")
	if !<-done {
		t.Error("the right one came too late")
	}
}

// Where nobody types, or nobody can, the prompt ends by itself.
func TestGateTimesOut(t *testing.T) {
	t.Run("silence", func(t *testing.T) {
		g, _ := gate(new(bytes.Buffer))
		op := sitDown(t)
		done := op.open(t.Context(), g, 50*time.Millisecond)
		op.wait("time for the password is over")
		if <-done {
			t.Error("open")
		}
	})
	t.Run("no console", func(t *testing.T) {
		g, _ := gate(new(bytes.Buffer))
		op := sitDown(t)
		_ = op.slave.Close()
		_ = op.master.Close()
		if <-op.open(t.Context(), g, 50*time.Millisecond) {
			t.Error("open")
		}
	})
	t.Run("waiting after a wrong one", func(t *testing.T) {
		g, _ := gate(new(bytes.Buffer))
		g.pause, g.until = pause, time.Now().Add(time.Hour)
		op := sitDown(t)
		done := op.open(t.Context(), g, 50*time.Millisecond)
		op.wait("looked at in 3600 s")
		if <-done {
			t.Error("open")
		}
	})
}

func TestGateThatCannotCheck(t *testing.T) {
	var log bytes.Buffer
	g, _ := gate(&log)
	g.Check = func([]byte) (bool, error) { return true, errors.New("too little memory") }
	op := sitDown(t)
	done := op.open(t.Context(), g, time.Minute)
	op.wait("Password for a shell")
	op.press("geheim\r")
	if <-done || !strings.Contains(log.String(), "too little memory") {
		t.Errorf("the log:\n%s", log.String())
	}
}
