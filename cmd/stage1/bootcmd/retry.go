package bootcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"netstage/stage1"
	"netstage/stage1/step"
)

// takenWithin is how long whoever is in charge may take to notice a request.
const takenWithin = 10 * time.Second

// retry asks whoever is in charge to go back to a step. The shell on the
// console is then hung up, and this command with it.
func (o Options) retry(ctx context.Context, name string, stdout io.Writer) error {
	steps := stage1.StepNames()
	if name != "" && !slices.Contains(steps, name) {
		return usageError(fmt.Sprintf("there is no step %q; there are %s", name, strings.Join(steps, ", ")))
	}
	switch o.inCharge() {
	case nobody:
		return errors.New(`PID 1 is a shell: there is no boot to go back to; "exit" reboots`)
	case rescue:
		if name != "" && name != steps[0] {
			return errors.New(`the boot's process has died: it can only start again from its first step, by "boot retry"`)
		}
		name = steps[0]
	case boot:
		r, err := o.current()
		if err != nil {
			return err
		}
		at := r.Breakpoint
		if n := len(r.Steps); at == "" && n > 0 {
			at = r.Steps[n-1].Name
		}
		switch {
		case name == "" && r.Breakpoint != "":
			return fmt.Errorf(`nothing has failed: name an earlier step, or go on with %s by "exit 0" on the console`, at)
		case name == "":
			name = at
		case slices.Index(steps, name) > slices.Index(steps, at):
			return fmt.Errorf("step %s comes after %s, where the boot stands", name, at)
		}
	}
	fmt.Fprintf(stdout, "going back to step %s\n", name)
	ctx, cancel := context.WithTimeoutCause(ctx, takenWithin, errors.New("nobody has taken the request"))
	defer cancel()
	if err := step.GoBack(ctx, name); err != nil {
		return fmt.Errorf("go back to step %s: %w", name, context.Cause(ctx))
	}
	return nil
}
