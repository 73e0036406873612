package main

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"testing"
	"time"

	"netstage/debug/sentence"
)

// This binary is the server, too, where it is called so: one that closes its
// output after a word, and lives on as long as its input does.
func TestMain(m *testing.M) {
	if os.Args[0] == "sshd" {
		os.Stdout.WriteString("people 1\n")
		os.Stdout.Close()
		io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}
	os.Exit(m.Run())
}

// A server that can't be read any more is ended, and thereby started again: its
// people are not waited for.
func TestSilentServerIsEnded(t *testing.T) {
	var log bytes.Buffer
	r := newRemote(slog.New(sentence.NewHandler(slog.LevelInfo, sentence.To(&log))))
	ended := make(chan error, 1)
	go func() { ended <- r.serve(t.Context()) }()
	select {
	case err := <-ended:
		if err == nil || r.people.Load() != 1 {
			t.Errorf("%v, %d people, log %s", err, r.people.Load(), &log)
		}
	case <-time.After(time.Minute):
		t.Fatal("a server that says nothing any more is waited for")
	}
}
