package shell

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// job is a statement that runs in the background of an interactive shell.
type job struct {
	number int
	text   string
	group  *group
	done   chan struct{}
}

// background starts a statement as a job: a process group of its own that
// Ctrl-C doesn't reach, reading nothing. It ends with the shell.
func (s *shell) background(ctx context.Context, st *syntax.Stmt) {
	null, err := devNull()
	if err != nil {
		fmt.Fprintf(s.stderr, "sh: %v\n", err)
		s.status = 1
		return
	}
	st2 := *st
	st2.Background = false
	j := &job{text: source(&st2), group: &group{apart: s.tty != nil}, done: make(chan struct{})}
	ctx, j.group.cancel = context.WithCancelCause(ctx)
	j.group.ctx = context.WithValue(ctx, groupKey{}, j.group)

	sub := s.runner.Subshell()
	if err := interp.StdIO(null, s.stdout, s.stderr)(sub); err != nil {
		fmt.Fprintf(s.stderr, "sh: %v\n", err)
	}
	s.mu.Lock()
	j.number = 1
	for _, other := range s.jobs {
		j.number = max(j.number, other.number+1)
	}
	s.jobs = append(s.jobs, j)
	s.mu.Unlock()
	if s.tty != nil {
		fmt.Fprintf(s.stderr, "[%d] %s &\n", j.number, j.text)
	}
	s.status = 0

	s.procs.Go(func() {
		defer null.Close()
		_ = sub.Run(j.group.ctx, &st2) // nobody asks for the status of a job
		j.group.cancel(nil)
		s.mu.Lock()
		for i, other := range s.jobs {
			if other == j {
				s.jobs = append(s.jobs[:i:i], s.jobs[i+1:]...)
				break
			}
		}
		s.mu.Unlock()
		close(j.done)
	})
}

// source renders a statement for a list of jobs.
func source(st *syntax.Stmt) string {
	var b strings.Builder
	if err := syntax.NewPrinter(syntax.SingleLine(true)).Print(&b, st); err != nil {
		return "?"
	}
	return b.String()
}

func (s *shell) currentJobs() []*job {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*job(nil), s.jobs...)
}

func (s *shell) listJobs(w io.Writer) {
	for _, j := range s.currentJobs() {
		fmt.Fprintf(w, "[%d] running  %s\n", j.number, j.text)
	}
}

// waitJobs waits for every job, or for Ctrl-C.
func (s *shell) waitJobs(ctx context.Context) {
	for _, j := range s.currentJobs() {
		select {
		case <-j.done:
		case <-ctx.Done():
			return
		}
	}
}

// jobArgs replaces %N by the job's process group.
func (s *shell) jobArgs(args []string) {
	for i, arg := range args {
		n, err := strconv.Atoi(strings.TrimPrefix(arg, "%"))
		if err != nil || !strings.HasPrefix(arg, "%") {
			continue
		}
		for _, j := range s.currentJobs() {
			if j.number != n {
				continue
			}
			j.group.mu.Lock()
			if j.group.live > 0 {
				args[i] = strconv.Itoa(-j.group.pgid)
			}
			j.group.mu.Unlock()
		}
	}
}
