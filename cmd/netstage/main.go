// Netstage is the companion of the stage1 agent on the host: it packs initrds,
// builds and serves system images, and boots them in QEMU through iPXE.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/peterbourgon/ff/v3/ffcli"
)

// Exit statuses.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

func main() {
	os.Exit(run(os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}))
}

// streams are the standard streams a subcommand works with.
type streams struct {
	in       *os.File
	out, err io.Writer
}

// run executes the command line and returns the exit status. SIGINT, SIGTERM and
// the end of the terminal cancel the context; a second signal ends the process
// at once.
func run(args []string, std streams) int {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // by nohup
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	context.AfterFunc(ctx, stop)

	root := newRoot(std)
	selected := find(root, args)
	err := root.Parse(args)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		err = usageError(strings.TrimPrefix(err.Error(), "error parsing commandline arguments: "))
	}
	if err == nil {
		err = root.Run(ctx)
	}

	name := path(root, selected)
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(std.out, help(selected))
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintf(std.err, "%s: %v\nhint: %s --help\n", name, err, name)
		return exitUsage
	default:
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = errors.New("interrupted")
		}
		fmt.Fprintf(std.err, "%s: %v\n", name, err)
		return exitFailure
	}
}

// newRoot builds the tree of commands.
func newRoot(std streams) *ffcli.Command {
	root := &ffcli.Command{
		Name:       "netstage",
		ShortUsage: "netstage COMMAND [FLAGS] …",
		LongHelp: "Packs initrds around the stage1 agent, builds and serves system images,\n" +
			"and boots them in QEMU as a machine on the network would.",
		FlagSet: newFlags("netstage"),
		Subcommands: []*ffcli.Command{
			newInitrd(std),
			newImage(std),
			newDrivers(std),
			newInspect(std),
			newScripts(std),
			newServe(std),
			newReport(std),
			newBoot(std),
			newKeygen(std),
			newPasswd(std),
			newSign(std),
			newVerify(std),
			newFetch(std),
			newStorm(std),
			newVersion(std),
		},
	}
	root.Exec = func(_ context.Context, args []string) error {
		if len(args) == 0 {
			return usageError("which command? One of " + names(root.Subcommands))
		}
		return usageError(fmt.Sprintf("unknown command %q; there are %s", args[0], names(root.Subcommands)))
	}
	return root
}
