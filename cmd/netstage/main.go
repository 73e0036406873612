// Netstage is the companion of the stage1 agent on the host: it packs initrds,
// builds and serves system images, and boots them in QEMU through iPXE.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit statuses.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
	exitSignal  = 128 // and the signal's number
)

func main() {
	status := run(os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr})
	if status > exitSignal {
		raise(syscall.Signal(status - exitSignal))
	}
	os.Exit(status)
}

// streams are the standard streams a subcommand works with.
type streams struct {
	in       *os.File
	out, err io.Writer
}

// run executes the command line and returns the exit status.
func run(args []string, std streams) int {
	ctx, e, stop := watch(context.Background())
	defer stop()
	std = e.outlets(std)
	root := newRoot(std)
	selected, err := e.execute(ctx, root, args)
	if err == nil {
		if err = e.lost(); err != nil {
			err = fmt.Errorf("standard output: %w", err)
		}
	}
	name := selected.CommandPath()
	var usage usageError
	var early ended
	switch {
	case err == nil:
		return exitOK
	case errors.As(context.Cause(ctx), &early):
		if early.by != syscall.SIGPIPE {
			fmt.Fprintf(std.err, "%s: interrupted\n", name)
		}
		return exitSignal + int(early.by)
	case errors.As(err, &usage):
		fmt.Fprintf(std.err, "%s: %s\nhint: %s --help\n", name, explain(err), name)
		return exitUsage
	default:
		fmt.Fprintf(std.err, "%s: %s\n", name, explain(err))
		return exitFailure
	}
}

// keepOrder has cobra show commands in the order of newRoot. It is cobra's only
// switch for that, and one for the whole process.
var keepOrder = sync.OnceFunc(func() { cobra.EnableCommandSorting = false })

// newRoot builds the tree of commands.
func newRoot(std streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "netstage COMMAND [FLAGS] …",
		Short: "pack, serve and try what machines boot from the network",
		Long: "Packs initrds around the stage1 agent, builds and serves system images,\n" +
			"and boots them in QEMU as a machine on the network would.\n\n" +
			"A command ends with 0, with 1 when it failed, and with 2 when its command line\n" +
			"is wrong. One that is interrupted removes what it has begun, and ends by the\n" +
			"signal; what it was to replace stays as it was. Progress is shown on terminals.",
		Version:       ownVersion(),
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args: func(root *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError("which command? One of " + names(root))
			}
			return unknownCommand(root, args[0])
		},
		RunE: func(*cobra.Command, []string) error { return nil }, // lest it is help alone
	}
	keepOrder()
	root.AddCommand(
		newInitrd(std),
		newImage(std),
		newDrivers(std),
		newInspect(std),
		newUKI(std),
		newPredict(std),
		newScripts(std),
		newServe(std),
		newReport(std),
		newBoot(std),
		newKeygen(std),
		newPasswd(std),
		newHot(std),
		newKeep(std),
		newSign(std),
		newKeyList(std),
		newVerify(std),
		newFetch(std),
		newPush(std),
		newPull(std),
		newStorm(std),
		newCompletion(std),
		newMan(std),
		newVersion(std),
	)
	root.SuggestionsMinimumDistance = 2
	root.SetOut(std.out)
	root.SetErr(std.err)
	root.SetVersionTemplate(versionText())
	root.Flags().Bool("version", false, "print the version of this tool")
	root.SetHelpFunc(func(c *cobra.Command, _ []string) { writeHelp(std.out, c) })
	root.SetHelpCommand(newHelp(std, root))
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError(err.Error()) })
	return root
}

// newHelp makes the command that does what --help does.
func newHelp(std streams, root *cobra.Command) *cobra.Command {
	help := newCommand("netstage help [COMMAND]", "explain a command", "Explains a command, as --help of that command does.", newFlags(),
		func(_ context.Context, args []string) error {
			c, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(root, args[len(args)-max(len(rest), 1)])
			}
			writeHelp(std.out, c)
			return nil
		})
	help.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) (found []string, _ cobra.ShellCompDirective) {
		for _, c := range root.Commands() {
			if len(args) == 0 && c.IsAvailableCommand() {
				found = append(found, c.Name()+"\t"+c.Short)
			}
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
	return help
}

func unknownCommand(root *cobra.Command, name string) error {
	if like := root.SuggestionsFor(name); len(like) > 0 {
		return usageError(fmt.Sprintf("unknown command %q; did you mean %s?", name, strings.Join(like, " or ")))
	}
	return usageError(fmt.Sprintf("unknown command %q; there are %s", name, names(root)))
}
