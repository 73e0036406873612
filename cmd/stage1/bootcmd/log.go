package bootcmd

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"netstage/debug/kmsg"
)

// log shows the kernel log. It reads on where the kernel was faster, and says
// how much was lost.
func (o Options) log(ctx context.Context, args []string, stdout io.Writer) error {
	own, most := false, len(kmsg.PriorityNames)-1
	t := kmsg.TailOptions{Path: o.Kmsg, Color: o.Width > 0, Names: true, Only: func(r kmsg.Record) bool {
		return r.Priority <= most && (!own || strings.HasPrefix(r.Text, "stage-1-init: "))
	}}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "-f":
			t.Follow = true
		case arg == "-a":
			own = true
		case arg == "-l" && len(args) > 0:
			level, ok := levelOf(args[0])
			if !ok {
				return usageError(fmt.Sprintf("-l %s: want 0 to 7 or one of %s", args[0], strings.Join(kmsg.PriorityNames[:], ", ")))
			}
			most, args = level, args[1:]
		default:
			return usageError(fmt.Sprintf("log takes no %q", arg))
		}
	}
	return kmsg.Tail(ctx, stdout, t)
}

func levelOf(text string) (int, bool) {
	if n, err := strconv.Atoi(text); err == nil {
		return n, n >= 0 && n < len(kmsg.PriorityNames)
	}
	n := slices.IndexFunc(kmsg.PriorityNames[:], func(name string) bool { return text != "" && strings.HasPrefix(name, text) })
	return n, n >= 0
}
