package step

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// goBackFile asks whoever is in charge, the boot or the rescue, to go back to
// the step it names. It is a file, because whoever asks has no other way that
// works in any shell: on a console, by ssh, and after the boot's death.
const goBackFile = "/run/netstage/go-back"

// lookEvery is how often the file is looked for.
const lookEvery = 200 * time.Millisecond

// GoBack asks for it, and waits until somebody has taken the request.
func GoBack(ctx context.Context, step string) error {
	if err := errors.Join(os.MkdirAll(filepath.Dir(goBackFile), 0o755), os.WriteFile(goBackFile+".new", []byte(step+"\n"), 0o644)); err != nil {
		return err
	}
	if err := os.Rename(goBackFile+".new", goBackFile); err != nil {
		return err
	}
	for {
		if _, err := os.Stat(goBackFile); errors.Is(err, os.ErrNotExist) {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), os.Remove(goBackFile))
		case <-time.After(lookEvery):
		}
	}
}

// AwaitGoBack waits for a request for one of the steps, takes it, and returns
// the step. It returns "" when the context ends.
func AwaitGoBack(ctx context.Context, steps []string) string {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ""
		case <-ticker.C:
		}
		text, err := os.ReadFile(goBackFile)
		if err != nil {
			continue
		}
		if err := os.Remove(goBackFile); err != nil {
			continue // it would be found again and again
		}
		if step := strings.TrimSpace(string(text)); slices.Contains(steps, step) {
			return step
		}
	}
}

// Requests passes requests on until its background is stopped.
func Requests(names []string) (<-chan string, *Background) {
	steps := make(chan string)
	return steps, InBackground(func(ctx context.Context) error {
		for {
			step := AwaitGoBack(ctx, names)
			select {
			case steps <- step:
			case <-ctx.Done():
				return nil
			}
		}
	})
}

// errAsked is the cause of a context that ended because somebody wants to go
// back.
var errAsked = errors.New("somebody asked to go back")

// attend returns a context that ends when somebody asks to go back, and a
// function that releases it and names the step; "" when nobody asked.
func (r Runner) attend(ctx context.Context) (context.Context, func() string) {
	ctx, cancel := context.WithCancelCause(ctx)
	step, done := "", make(chan struct{})
	go func() {
		defer close(done)
		select {
		case step = <-r.Requests:
			cancel(errAsked)
		case <-ctx.Done():
		}
	}()
	return ctx, func() string {
		cancel(nil)
		<-done
		return step
	}
}

// back is the step to go on with when the one at i was left for the one that
// was asked for: never a later one.
func back(steps []Step, i int, asked string) int {
	if n := indexOf(steps, asked, i); n < i {
		return n
	}
	return indexOf(steps, steps[i].From, i)
}
