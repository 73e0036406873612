// Package step runs the steps of a boot: in order, with breakpoints and limits,
// what may overlap beside them, and back to an earlier one when somebody asks.
package step

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"netstage/stage1/fault"
)

// A Step is one line of the boot's story.
type Step struct {
	Name  string
	Title string
	Run   func(context.Context) error
	Limit time.Duration // how long Run may take; 0 where it sets its own deadlines

	// From names an earlier step to go back to when this one failed and is
	// retried; empty for the step itself.
	From string

	// Optional allows an operator to go on without the step when it failed:
	// none that verifies anything, and none that the hand-over needs.
	Optional bool

	// StateBefore says where the boot stands before the step, for whoever
	// stops there.
	StateBefore string

	// Early is a step that no breakpoint can stop before: the command line is
	// not known yet.
	Early bool

	// Brief is a step whose begin is not worth a record.
	Brief bool

	// Refetches is a step that fetches the image, or one before it: whoever
	// goes back to it wants the image anew.
	Refetches bool

	// Quiet is how long the step may show no sign of life; 0: as long as its
	// Limit allows, or DefaultQuiet.
	Quiet time.Duration

	// Prepare is a part of the step that needs only what the step DependsOn has
	// done. It runs beside the steps between; Run begins when it has ended. It
	// sets its own deadlines.
	Prepare   func(context.Context) error
	DependsOn string
}

// A Runner runs steps in order. It owns their numbering, timing, log lines
// and breakpoints.
type Runner struct {
	Log       *slog.Logger
	Timeline  *Timeline
	Began     func(Step)                                        // called when a step begins; may be nil
	Break     func(context.Context, Step) fault.Choice          // called before a step; "" goes on
	Breaks    func(step string) bool                            // whether to stop before step
	OnFailure func(context.Context, fault.Failure) fault.Choice // decides what follows
	Hung      func(string)                                      // called when a step does not even heed its limit
	Requests  <-chan string                                     // names of steps to go back to at once; may be nil
	Asked     func(Step)                                        // called when one is heeded
}

// grace is how long a step may take to notice that its Limit is over.
const grace = 30 * time.Second

// ErrTimeout is the cause of a step that took longer than its Limit.
var ErrTimeout error = timeout("took too long")

type timeout string

func (t timeout) Error() string { return string(t) }

// Is makes its class that of deadlines.
func (timeout) Is(target error) bool { return target == context.DeadlineExceeded }

// Run runs the steps. It returns "" when all are done, else the choice that
// ended the boot.
func (r Runner) Run(ctx context.Context, steps []Step) fault.Choice {
	ctx, cancel := context.WithCancel(ctx)
	preparing := map[string]chan error{} // by the step they belong to
	defer func() {
		cancel()
		for _, result := range preparing {
			select {
			case <-result:
			case <-time.After(stopLimit): // a disk that does not answer holds it
			}
		}
	}()
	for i := 0; i < len(steps); {
		turn, end := r.attend(ctx)
		next, choice := r.turn(turn, steps, i, preparing)
		if asked := end(); asked != "" {
			next, choice = back(steps, i, asked), ""
			r.Log.Warn(fmt.Sprintf("going back to step %s, as somebody asked", steps[next].Name))
			r.Asked(steps[next])
		}
		if choice != "" {
			return choice
		}
		if next == i+1 {
			r.startPreparing(ctx, steps[i].Name, steps, preparing)
		}
		i = next
	}
	return ""
}

// turn runs the step at i once, and says which one comes next, or what ends the
// boot.
func (r Runner) turn(ctx context.Context, steps []Step, i int, preparing map[string]chan error) (next int, end fault.Choice) {
	step := steps[i]
	if r.Breaks(step.Name) {
		if choice := r.Break(ctx, step); choice != "" || context.Cause(ctx) == errAsked {
			return i, choice
		}
	}
	label := fmt.Sprintf("%s (%d/%d)", step.Name, i+1, len(steps))
	log := r.Log.With("step", label)
	log.Info(step.Title)
	r.Timeline.Start(step.Name)
	if r.Began != nil {
		r.Began(step)
	}
	err := r.run(ctx, step, preparing)
	took := r.Timeline.Done(step.Name, err)
	if err == nil {
		log.Info(fmt.Sprintf("done, %.3f s", took.Seconds()))
		return i + 1, ""
	}
	if context.Cause(ctx) == errAsked {
		return i, ""
	}
	log.Error(string(fault.ClassOf(err)), "class", fault.ClassOf(err), "err", err)
	f := fault.Failure{
		Class: fault.ClassOf(err), Cause: err.Error(), Step: step.Name, Tried: fault.TriedOf(err),
		Attempt: r.Timeline.attempts(step.Name), Took: took,
	}
	if step.Optional {
		f.Next = "stage 2"
		if i+1 < len(steps) {
			f.Next = steps[i+1].Name
		}
	}
	switch choice := r.OnFailure(ctx, f); choice {
	case fault.Retry:
		return indexOf(steps, step.From, i), ""
	case fault.Continue:
		if f.Next == "" {
			log.Error("the boot can't go on without it")
			return i, ""
		}
		log.Warn("left out")
		return i + 1, ""
	default:
		return i, choice
	}
}

// run runs one step once, with what was prepared for it.
func (r Runner) run(ctx context.Context, step Step, preparing map[string]chan error) error {
	if result, ok := preparing[step.Name]; ok {
		select {
		case err := <-result:
			delete(preparing, step.Name)
			if err != nil {
				return err
			}
		case <-ctx.Done(): // it goes on, for when the step's turn comes again
			return context.Cause(ctx)
		}
	} else if step.Prepare != nil {
		if err := step.Prepare(ctx); err != nil { // a retry
			return err
		}
	}
	if step.Limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, step.Limit, fmt.Errorf("step %s %w: the limit is %v", step.Name, ErrTimeout, step.Limit))
		defer cancel()
		hung := time.AfterFunc(step.Limit+grace, func() {
			r.Hung(fmt.Sprintf("step %s hangs: it did not end %v after its limit of %v", step.Name, grace, step.Limit))
		})
		defer hung.Stop()
	}
	err := step.Run(ctx)
	if err != nil && errors.Is(context.Cause(ctx), ErrTimeout) {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

// DefaultQuiet is how long a step without a Limit may show no sign of life: a
// server may ask for five minutes of patience, and is given up to twice as
// much.
const DefaultQuiet = 11 * time.Minute

// QuietTime is how long the step may show no sign of life. One with a Limit
// ends by it, and the agent by what comes after it.
func (s Step) QuietTime() time.Duration {
	switch {
	case s.Quiet > 0:
		return s.Quiet
	case s.Limit > 0:
		return s.Limit + grace + 10*time.Second
	}
	return DefaultQuiet
}

// indexOf finds the step called name, or returns i.
func indexOf(steps []Step, name string, i int) int {
	for n, step := range steps {
		if step.Name == name {
			return n
		}
	}
	return i
}

// startPreparing starts what waited for the step called done.
func (r Runner) startPreparing(ctx context.Context, done string, steps []Step, preparing map[string]chan error) {
	for _, step := range steps {
		if step.Prepare == nil || step.DependsOn != done || preparing[step.Name] != nil {
			continue
		}
		result := make(chan error, 1)
		preparing[step.Name] = result
		go func() { result <- step.Prepare(ctx) }()
	}
}
