package step

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"netstage/stage1/fault"
)

// Whoever asks to go back is heard at once, whatever goes on: a step, a
// breakpoint, the failure menu.
func TestRunnerGoesBack(t *testing.T) {
	asks := make(chan string)
	waits := func(ctx context.Context, step string) {
		asks <- step
		<-ctx.Done()
	}
	for name, test := range map[string]struct {
		run  func(s *story, ctx context.Context) error // of step c, the first time
		hold string                                    // what else waits
		want []string
	}{
		"in a step": {func(s *story, ctx context.Context) error { waits(ctx, "b"); return ctx.Err() }, "", []string{"a", "b", "c", "b", "c", "d"}},
		"in the menu": {func(*story, context.Context) error { return errors.New("broken") }, "menu",
			[]string{"a", "b", "c", "menu after c", "b", "c", "d"}},
		"at a breakpoint":            {nil, "break", []string{"a", "b", "c", "break before d", "b", "c", "d"}},
		"never forward":              {func(s *story, ctx context.Context) error { waits(ctx, "d"); return ctx.Err() }, "", []string{"a", "b", "c", "c", "d"}},
		"to where c goes when tried": {func(s *story, ctx context.Context) error { waits(ctx, "c"); return ctx.Err() }, "", []string{"a", "b", "c", "c", "d"}},
		"asked for, and done in spite of it": {func(s *story, ctx context.Context) error { waits(ctx, "a"); return nil }, "",
			[]string{"a", "b", "c", "a", "b", "c", "d"}},
	} {
		t.Run(name, func(t *testing.T) {
			var s story
			first := true
			step := func(name string) Step {
				return Step{Name: name, Run: func(ctx context.Context) error {
					s.tell("%s", name)
					if name == "c" && first && test.run != nil {
						first = false
						return test.run(&s, ctx)
					}
					return nil
				}}
			}
			ahead := 0
			last := step("d")
			last.DependsOn, last.Prepare = "a", func(context.Context) error { ahead++; return nil }
			held := false
			choice := Runner{
				Log: slog.New(slog.DiscardHandler), Timeline: new(Timeline), Requests: asks, Asked: func(Step) {},
				Breaks: func(step string) bool { return test.hold == "break" && step == "d" && !held },
				Break: func(ctx context.Context, step Step) fault.Choice {
					held = true
					s.tell("break before %s", step.Name)
					waits(ctx, "b")
					return ""
				},
				OnFailure: func(ctx context.Context, f fault.Failure) fault.Choice {
					s.tell("menu after %s", f.Step)
					waits(ctx, "b")
					return fault.Reboot // as the menu does when its context ends
				},
			}.Run(t.Context(), []Step{step("a"), step("b"), step("c"), last})
			if choice != "" {
				t.Errorf("choice %q", choice)
			}
			s.expect(t, test.want...)
			if ahead != 1 {
				t.Errorf("what goes ahead ran %d times", ahead)
			}
		})
	}
}

// A step that is tried anew from an earlier one is so when somebody asks for
// it, too.
func TestBack(t *testing.T) {
	steps := []Step{{Name: "network"}, {Name: "image"}, {Name: "root", From: "image"}, {Name: "handover"}}
	for _, test := range []struct {
		i     int
		asked string
		want  string
	}{{2, "root", "image"}, {2, "network", "network"}, {2, "handover", "image"}, {3, "root", "root"}, {3, "handover", "handover"}, {0, "mars", "network"}} {
		if got := steps[back(steps, test.i, test.asked)].Name; got != test.want {
			t.Errorf("at %s, asked for %s: %s, want %s", steps[test.i].Name, test.asked, got, test.want)
		}
	}
}

// While a step waits for what went ahead, a disk for instance, too; that goes
// on, and once is enough.
func TestRunnerGoesBackFromWaitingForWhatWentAhead(t *testing.T) {
	var s story
	asks, free := make(chan string), make(chan struct{})
	visits, ahead := 0, 0
	b := s.step("b")
	b.Run = func(context.Context) error {
		s.tell("b")
		if visits++; visits == 2 {
			close(free)
		}
		return nil
	}
	last := s.step("root")
	last.DependsOn, last.Prepare = "a", func(context.Context) error {
		ahead++
		asks <- "b" // heard at the latest when root waits
		<-free
		return nil
	}
	choice := Runner{
		Log: slog.New(slog.DiscardHandler), Timeline: new(Timeline), Requests: asks, Asked: func(Step) {},
		Breaks:    func(string) bool { return false },
		OnFailure: func(_ context.Context, f fault.Failure) fault.Choice { t.Errorf("%+v", f); return fault.Reboot },
	}.Run(t.Context(), []Step{s.step("a"), b, last})
	if choice != "" || ahead != 1 || visits != 2 {
		t.Errorf("choice %q, ahead %d times, b %d times: %q", choice, ahead, visits, s.lines)
	}
}
