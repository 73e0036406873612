package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"netstage/cmd/netstage/internal/output"
)

// A usageError says what is wrong with the command line.
type usageError string

func (e usageError) Error() string { return string(e) }

// newFlags returns the flags of a command, which are told of by name.
func newFlags() *pflag.FlagSet {
	return pflag.NewFlagSet("", pflag.ContinueOnError)
}

// A runner does what a command is for; args are its operands.
type runner func(ctx context.Context, args []string) error

// newCommand makes a command. Its help, its manual page and what the shell
// completes all come from usage, short, long and the usage text of its flags.
func newCommand(usage, short, long string, flags *pflag.FlagSet, run runner) *cobra.Command {
	c := &cobra.Command{
		Use:   strings.TrimPrefix(usage, "netstage "),
		Short: short, Long: long,
		DisableFlagsInUseLine: true,
		Args:                  cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkOutput(c, args); err != nil {
				return err
			}
			return run(c.Context(), args)
		},
	}
	c.Flags().AddFlagSet(flags)
	flags.VisitAll(func(f *pflag.Flag) {
		c.RegisterFlagCompletionFunc(f.Name, completionOf(f))
	})
	return c
}

// merges marks commands that may write what they have read: they read all of it
// first, or from what stays there until the new one has its name.
const merges = "merges"

// mark marks a command.
func mark(c *cobra.Command, name string) *cobra.Command {
	c.Annotations = map[string]string{name: ""}
	return c
}

// checkOutput refuses a -o FILE that can't be written, before the work, and one
// that is read, too, which would be lost.
func checkOutput(c *cobra.Command, args []string) error {
	flag := c.Flags().Lookup("output")
	if flag == nil || !flag.Changed {
		return nil
	}
	if value, _ := pflag.UnquoteUsage(flag); value != "FILE" {
		return nil
	}
	to := flag.Value.String()
	switch to {
	case "":
		return nil // each command says what it wants
	case "-":
		return usageError("-o -: that is no file; one of that name is ./-")
	}
	name, err := output.Name(to)
	if err != nil {
		return err
	}
	there, err := os.Stat(name)
	if _, may := c.Annotations[merges]; err != nil || may {
		return nil
	}
	inputs := slices.Clone(args)
	c.Flags().Visit(func(f *pflag.Flag) {
		switch values, ok := f.Value.(*list); {
		case f == flag:
		case ok:
			inputs = append(inputs, *values...)
		default:
			inputs = append(inputs, f.Value.String())
		}
	})
	for _, input := range inputs {
		source, _, _ := strings.Cut(input, ":")
		for _, file := range []string{input, source, strings.TrimPrefix(input, "@")} {
			if info, err := os.Stat(file); err == nil && os.SameFile(info, there) {
				return usageError(fmt.Sprintf("-o %s is read, too: %s; give another file", to, input))
			}
		}
	}
	return nil
}

// noOperands is for commands that take none.
func noOperands(args []string) error {
	if len(args) > 0 {
		return usageError(fmt.Sprintf("unexpected argument %q", args[0]))
	}
	return nil
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string { return strings.Join(*l, " ") }

func (l *list) Type() string { return "" }

func (l *list) Set(value string) error {
	if value == "" {
		return fmt.Errorf("is empty")
	}
	*l = append(*l, value)
	return nil
}

// given is a flag that is not empty where it is given: a variable of a script
// that is not set must not mean that nothing is verified.
type given string

func (g *given) String() string { return string(*g) }

func (g *given) Type() string { return "" }

func (g *given) Set(value string) error {
	if value == "" {
		return fmt.Errorf("is empty")
	}
	*g = given(value)
	return nil
}

// givenVar defines such a flag.
func givenVar(fs *pflag.FlagSet, p *string, name, usage string) {
	fs.Var((*given)(p), name, usage)
}

// names are those of the commands that help shows.
func names(root *cobra.Command) string {
	var all []string
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			all = append(all, c.Name())
		}
	}
	return strings.Join(all, ", ")
}

// writeHelp writes the text of --help.
func writeHelp(w io.Writer, c *cobra.Command) {
	fmt.Fprintf(w, "usage: %s\n\n%s\n", usageOf(c), strings.TrimSpace(c.Long))
	if c.HasAvailableSubCommands() {
		fmt.Fprint(w, "\ncommands:\n")
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(w, "  %-10s %s\n", sub.Name(), sub.Short)
			}
		}
		fmt.Fprintf(w, "\n%s help COMMAND tells more.\n", c.Name())
	}
	heading := "\nflags:\n"
	eachFlag(c, func(flag, usage string) {
		fmt.Fprintf(w, "%s  %s\n        %s\n", heading, flag, strings.ReplaceAll(usage, "\n", "\n        "))
		heading = ""
	})
}

// usageOf is a command line in short.
func usageOf(c *cobra.Command) string {
	if !c.HasParent() {
		return c.Use
	}
	return c.Parent().CommandPath() + " " + c.Use
}

// eachFlag calls do with every flag of a command, as it is typed, and with what
// it is for.
func eachFlag(c *cobra.Command, do func(flag, usage string)) {
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		flag := "--" + f.Name
		if f.Shorthand != "" {
			flag = "-" + f.Shorthand + ", " + flag
		}
		value, usage := pflag.UnquoteUsage(f)
		if value != "" && f.Value.Type() != "bool" {
			flag += " " + value
		}
		switch f.DefValue {
		case "", "false", "0", "0s":
		default:
			usage += " (default " + f.DefValue + ")"
		}
		do(flag, usage)
	})
}
