package step

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"netstage/debug/sentence"
	"netstage/stage1/fault"
)

// story runs steps and returns what happened, line by line.
type story struct {
	lines   []string
	log     bytes.Buffer
	breaks  map[string]bool
	choose  func(fault.Failure) fault.Choice
	atBreak fault.Choice
}

func (s *story) tell(format string, args ...any) {
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

func (s *story) step(name string, results ...error) Step {
	return Step{Name: name, Title: "do " + name, Run: func(context.Context) error {
		s.tell("%s", name)
		if len(results) == 0 {
			return nil
		}
		err := results[0]
		results = results[1:]
		return err
	}}
}

func (s *story) run(steps ...Step) (fault.Choice, Timeline) {
	var timeline Timeline
	choice := Runner{
		Log: slog.New(sentence.NewHandler(slog.LevelInfo, sentence.To(&s.log))), Timeline: &timeline,
		Breaks: func(name string) bool { return s.breaks[name] },
		Break: func(_ context.Context, step Step) fault.Choice {
			s.tell("break before %s", step.Name)
			return s.atBreak
		},
		OnFailure: func(_ context.Context, f fault.Failure) fault.Choice {
			s.tell("%s: %s", f.Step, f.Class)
			return s.choose(f)
		},
	}.Run(context.Background(), steps)
	return choice, timeline
}

func (s *story) expect(t *testing.T, want ...string) {
	t.Helper()
	if got := strings.Join(s.lines, ", "); got != strings.Join(want, ", ") {
		t.Errorf("got  %s\nwant %s", got, strings.Join(want, ", "))
	}
}

func TestRunnerRunsInOrder(t *testing.T) {
	s := story{breaks: map[string]bool{"b": true}}
	choice, timeline := s.run(s.step("a"), s.step("b"), s.step("c"))
	s.expect(t, "a", "break before b", "b", "c")
	if choice != "" || len(timeline.Spans) != 3 || timeline.Spans[2].Step != "c" {
		t.Errorf("choice %q, timeline %+v", choice, timeline)
	}
	for _, want := range []string{"a (1/3): do a", "c (3/3): done"} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("no %q in\n%s", want, s.log.String())
		}
	}
}

func TestRunnerRetries(t *testing.T) {
	nobody := &fault.Error{Class: fault.NoLease, Text: "nobody answers", Tried: []string{"eth0: no answer"}}
	s := story{choose: func(f fault.Failure) fault.Choice {
		if len(f.Tried) != 1 || !strings.HasSuffix(f.Cause, "nobody answers") || f.Class != fault.NoLease || f.Attempt != 1 {
			t.Errorf("failure %+v", f)
		}
		return fault.Retry
	}}
	back := s.step("c", fmt.Errorf("wrapped: %w", nobody))
	back.From = "a"
	choice, timeline := s.run(s.step("a"), s.step("b", nobody), back)
	s.expect(t, "a", "b", "b: no-lease", "b", "c", "c: no-lease", "a", "b", "c")
	if choice != "" || timeline.Spans[1].Failure != "no-lease" || timeline.Spans[2].Failure != "" {
		t.Errorf("choice %q, timeline %+v", choice, timeline)
	}
}

func TestRunnerObeysTheChoice(t *testing.T) {
	for _, want := range []fault.Choice{fault.Reboot, fault.ShellPID1, fault.Panic, fault.PowerOff} {
		s := story{choose: func(fault.Failure) fault.Choice { return want }}
		if choice, _ := s.run(s.step("a", errors.New("no")), s.step("b")); choice != want {
			t.Errorf("choice %q, want %q", choice, want)
		}
		s.expect(t, "a", "a: failed")
	}
}

func TestRunnerEndsAtABreakpoint(t *testing.T) {
	s := story{breaks: map[string]bool{"b": true}, atBreak: fault.Reboot}
	if choice, _ := s.run(s.step("a"), s.step("b")); choice != fault.Reboot {
		t.Errorf("choice %q", choice)
	}
	s.expect(t, "a", "break before b")
}

func TestRunnerWorksAhead(t *testing.T) {
	s := story{choose: func(fault.Failure) fault.Choice { return fault.Retry }}
	free := make(chan struct{})
	begun := make(chan struct{})
	tries := 0
	waiting := Step{Name: "wait", Run: func(context.Context) error {
		<-begun // deadlocks unless the part that goes ahead has started
		close(free)
		return nil
	}}
	ahead := s.step("root")
	ahead.DependsOn, ahead.Prepare = "first", func(context.Context) error {
		if tries++; tries == 1 {
			close(begun)
			<-free
			return &fault.Error{Class: fault.NoLease, Text: "missing"}
		}
		return nil
	}
	if choice, _ := s.run(s.step("first"), waiting, ahead); choice != "" {
		t.Errorf("choice %q", choice)
	}
	s.expect(t, "first", "root: no-lease", "root")
	if tries != 2 {
		t.Errorf("the part that goes ahead ran %d times, want 2: once more for the retry", tries)
	}
}

// When the boot ends early, what went ahead is ended and waited for.
func TestRunnerEndsWhatWentAhead(t *testing.T) {
	s := story{choose: func(fault.Failure) fault.Choice { return fault.Reboot }}
	ended := false
	ahead := s.step("late")
	ahead.DependsOn, ahead.Prepare = "first", func(ctx context.Context) error {
		<-ctx.Done()
		ended = true
		return ctx.Err()
	}
	if choice, _ := s.run(s.step("first"), s.step("fails", errors.New("no")), ahead); choice != fault.Reboot || !ended {
		t.Errorf("choice %q, ended %v", choice, ended)
	}
}

func TestRunnerLimitsSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := story{choose: func(f fault.Failure) fault.Choice {
			if !strings.Contains(f.Cause, "1m0s") {
				t.Errorf("cause %q does not name the limit", f.Cause)
			}
			return fault.Reboot
		}}
		slow := Step{Name: "slow", Limit: time.Minute, Run: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
		if choice, _ := s.run(slow); choice != fault.Reboot {
			t.Errorf("choice %q", choice)
		}
		s.expect(t, "slow: step-timeout")
	})
}

// A step that hangs, in a system call for instance, does not hang the boot.
func TestRunnerTellsOfAHungStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var why atomic.Value
		why.Store("")
		r := Runner{
			Log: slog.New(slog.DiscardHandler), Timeline: &Timeline{}, Breaks: func(string) bool { return false },
			OnFailure: func(context.Context, fault.Failure) fault.Choice { return fault.Reboot }, Hung: func(s string) { why.Store(s) },
		}
		deaf := Step{Name: "deaf", Limit: time.Minute, Run: func(context.Context) error { time.Sleep(time.Hour); return nil }}
		slow := Step{Name: "slow", Run: func(context.Context) error { time.Sleep(time.Hour); return nil }}
		if r.Run(t.Context(), []Step{slow}); why.Load() != "" {
			t.Errorf("a step without a limit hangs: %s", why.Load())
		}
		r.Run(t.Context(), []Step{deaf})
		if told := why.Load().(string); !strings.Contains(told, "step deaf hangs") || !strings.Contains(told, "1m0s") {
			t.Errorf("told %q", told)
		}
	})
}

// What goes ahead, a check of a disk for instance, sets its own deadlines.
func TestRunnerLimitsNotWhatGoesAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := Runner{
			Log: slog.New(slog.DiscardHandler), Timeline: &Timeline{}, Breaks: func(string) bool { return false },
			OnFailure: func(_ context.Context, f fault.Failure) fault.Choice { t.Errorf("%+v", f); return fault.Reboot }, Hung: func(why string) { t.Error(why) },
		}
		slow := func(context.Context) error { time.Sleep(time.Hour); return nil }
		run := func(context.Context) error { return nil }
		if choice := r.Run(t.Context(), []Step{{Name: "first", Run: run}, {Name: "root", Run: run, Limit: time.Minute, Prepare: slow, DependsOn: "first"}}); choice != "" {
			t.Errorf("choice %q", choice)
		}
	})
}

// Only what an operator may leave out is ever left out: a step that the boot
// needs is run again instead.
func TestOnlyOptionalStepsAreLeftOut(t *testing.T) {
	var next []string
	s := story{choose: func(f fault.Failure) fault.Choice { next = append(next, f.Next); return fault.Continue }}
	optional := s.step("a", errors.New("no"))
	optional.Optional = true
	last := s.step("c", errors.New("no"))
	last.Optional = true
	if choice, _ := s.run(optional, s.step("b", errors.New("no"), nil), last); choice != "" {
		t.Errorf("choice %q", choice)
	}
	s.expect(t, "a", "a: failed", "b", "b: failed", "b", "c", "c: failed")
	if want := []string{"b", "", "stage 2"}; !slices.Equal(next, want) {
		t.Errorf("next %q, want %q", next, want)
	}
}
