package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// How long a command that was told to end may take: by itself, and when it is
// told again. One that stops servers has its own patience.
const (
	endsWithin = 15 * time.Second
	hurry      = 2 * time.Second
)

// An ended is why a context is over: a signal, or that nobody reads what the
// tool prints, which is SIGPIPE.
type ended struct{ by syscall.Signal }

func (ended) Error() string        { return "interrupted" }
func (ended) Is(target error) bool { return target == context.Canceled }

// endings ends a command early, in order: what it has begun it removes.
type endings struct {
	end    context.CancelCauseFunc
	come   chan os.Signal
	over   chan struct{} // it is not waited for any more
	mu     sync.Mutex
	failed error // to write to standard output
}

// watch has the context end by SIGINT, SIGTERM and the end of the terminal; stop
// ends the watch.
func watch(ctx context.Context) (_ context.Context, e *endings, stop func()) {
	e = &endings{come: make(chan os.Signal, 2), over: make(chan struct{})}
	ctx, e.end = context.WithCancelCause(ctx)
	signal.Notify(e.come, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // by nohup
		signal.Notify(e.come, syscall.SIGHUP)
	}
	// Taken, it ends nothing by itself: the write fails.
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	var watching sync.WaitGroup
	stopped := make(chan struct{})
	watching.Go(func() {
		var limit <-chan time.Time
		for {
			select {
			case <-stopped:
				return
			case <-limit:
				close(e.over)
				return
			case by := <-e.come:
				if ctx.Err() != nil {
					limit = time.After(hurry)
				}
				e.end(ended{by.(syscall.Signal)})
			}
		}
	})
	return ctx, e, func() {
		signal.Stop(e.come)
		signal.Stop(pipe)
		close(stopped)
		watching.Wait()
		e.end(nil)
	}
}

// unhurried marks commands that take, once told to end, as long as a flag of
// theirs says.
const unhurried = "unhurried"

// execute runs the command that args name. When the context is over it is not
// waited for for ever: it may hang in a read of a disk that is gone.
func (e *endings) execute(ctx context.Context, root *cobra.Command, args []string) (*cobra.Command, error) {
	type result struct {
		command *cobra.Command
		err     error
	}
	selected, _, err := root.Find(args)
	if err != nil {
		selected = root
	}
	_, patient := selected.Annotations[unhurried]
	root.SetArgs(args)
	done := make(chan result, 1)
	go func() {
		command, err := root.ExecuteContextC(ctx)
		done <- result{command, err}
	}()
	select {
	case r := <-done:
		return r.command, r.err
	case <-ctx.Done():
	}
	var late <-chan time.Time
	if !patient {
		late = time.After(endsWithin)
	}
	select {
	case r := <-done:
		return r.command, r.err
	case <-e.over:
	case <-late:
	}
	return selected, context.Cause(ctx)
}

// An outlet is standard output or standard error. That nobody reads it any more
// ends the command.
type outlet struct {
	w      io.Writer
	failed func(error)
}

func (o *outlet) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if err != nil {
		o.failed(err)
	}
	return n, err
}

// outlets are the streams with outlets.
func (e *endings) outlets(std streams) streams {
	gone := func(err error) {
		if errors.Is(err, syscall.EPIPE) {
			e.end(ended{syscall.SIGPIPE})
		}
	}
	std.err = &outlet{std.err, gone}
	std.out = &outlet{std.out, func(err error) {
		gone(err)
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.failed == nil {
			e.failed = err
		}
	}}
	return std
}

// lost is why not all could be printed.
func (e *endings) lost() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.failed
}

// terminal is the terminal that w leads to, nil where it leads elsewhere.
func terminal(w io.Writer) *os.File {
	if o, ok := w.(*outlet); ok {
		w = o.w
	}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}

// raise ends the process by a signal, as if it had not been caught: only so does
// a shell know that a loop is to end, too.
func raise(by syscall.Signal) {
	if by == syscall.SIGPIPE {
		return // Go takes that from the kernel alone
	}
	signal.Reset(by)
	if err := syscall.Kill(os.Getpid(), by); err == nil {
		time.Sleep(time.Second) // it comes by another thread
	}
}

// explain is an error in one line, whatever names are in it.
func explain(err error) string {
	text := err.Error()
	var of *fs.PathError
	if errors.Is(err, syscall.ENOSPC) && errors.As(err, &of) && strings.HasPrefix(of.Path, filepath.Clean(os.TempDir())+"/") {
		text += " (TMPDIR says where temporary files are)"
	}
	var b strings.Builder
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if i > 0 {
			b.WriteString("; ")
		}
		for at, r := range line {
			if r == utf8.RuneError && line[at] != "\uFFFD"[0] {
				b.WriteString(`\x` + strconv.FormatUint(uint64(line[at]), 16))
			} else if unicode.IsPrint(r) || r == ' ' {
				b.WriteRune(r)
			} else {
				b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
			}
		}
	}
	return b.String()
}
