package fetch

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"netstage/fetch/store"
	"netstage/stage1/fault"
)

// inMemory is a file that counts as memory.
type inMemory struct{ store.Store }

func (inMemory) InMemory() bool { return true }

func TestLoad(t *testing.T) {
	content := strings.Repeat("0123456789abcdef", 1<<18)
	request := Request{Store: inMemory{store.File(filepath.Join(t.TempDir(), "image"))}, Log: slog.New(slog.DiscardHandler)}
	var last Progress
	request.Progress = func(p Progress) { last = p }
	file, err := Load(t.Context(), request, strings.NewReader(content+"more"), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if got, err := io.ReadAll(file); err != nil || string(got) != content {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if last.Bytes != int64(len(content)) || last.Total != last.Bytes || last.What != "image" {
		t.Errorf("the last progress is %+v", last)
	}

	request.MemAvailable = func() (int64, error) { return 66 << 20, nil }
	if _, err := Load(t.Context(), request, strings.NewReader(content), int64(len(content))); fault.ClassOf(err) != fault.NoMemory {
		t.Error(err)
	}
	request.MemAvailable = nil
	if _, err := Load(t.Context(), request, strings.NewReader("short"), int64(len(content))); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	cancel(stopped)
	if _, err := Load(ctx, request, strings.NewReader(content), int64(len(content))); !errors.Is(err, stopped) {
		t.Error(err)
	}
}
