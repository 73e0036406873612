package main

import (
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/peterbourgon/ff/v3/ffcli"
)

// A usageError says what is wrong with the command line.
type usageError string

func (e usageError) Error() string { return string(e) }

// newFlags returns a flag set that reports errors to its caller only.
func newFlags(name string) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	return fs
}

// operands parses what follows the first operand and returns the operands, so
// that flags may stand after them, as GNU tools allow. What follows a "--" is
// an operand whatever it looks like.
func operands(fs *flag.FlagSet, args []string) ([]string, error) {
	var found []string
	for len(args) > 0 {
		found = append(found, args[0])
		rest := args[1:]
		if err := fs.Parse(rest); err != nil {
			if err == flag.ErrHelp {
				return nil, err
			}
			return nil, usageError(err.Error())
		}
		args = fs.Args()
		if n := len(rest) - len(args); n > 0 && rest[n-1] == "--" {
			return append(found, args...), nil
		}
	}
	return found, nil
}

// noOperands is operands for commands that take none.
func noOperands(fs *flag.FlagSet, args []string) error {
	found, err := operands(fs, args)
	if err == nil && len(found) > 0 {
		err = usageError(fmt.Sprintf("unexpected argument %q", found[0]))
	}
	return err
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string { return strings.Join(*l, " ") }

func (l *list) Set(value string) error {
	if value == "" {
		return fmt.Errorf("is empty")
	}
	*l = append(*l, value)
	return nil
}

// find returns the command that args select, the root when they select none.
func find(root *ffcli.Command, args []string) *ffcli.Command {
	for _, arg := range args {
		for _, sub := range root.Subcommands {
			if strings.EqualFold(arg, sub.Name) {
				return sub
			}
		}
		if !strings.HasPrefix(arg, "-") {
			break
		}
	}
	return root
}

// path is the command as it is typed.
func path(root, c *ffcli.Command) string {
	if c == root {
		return root.Name
	}
	return root.Name + " " + c.Name
}

func names(commands []*ffcli.Command) string {
	var all []string
	for _, c := range commands {
		all = append(all, c.Name)
	}
	return strings.Join(all, ", ")
}

// help is the text of --help.
func help(c *ffcli.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "usage: %s\n\n%s\n", c.ShortUsage, strings.TrimSpace(c.LongHelp))
	if len(c.Subcommands) > 0 {
		b.WriteString("\ncommands:\n")
		for _, sub := range c.Subcommands {
			fmt.Fprintf(&b, "  %-10s %s\n", sub.Name, sub.ShortHelp)
		}
		fmt.Fprintf(&b, "\n%s COMMAND --help tells more.\n", c.Name)
	}
	heading := "\nflags:\n"
	c.FlagSet.VisitAll(func(f *flag.Flag) {
		b.WriteString(heading)
		heading = ""
		dashes := "--"
		if len(f.Name) == 1 {
			dashes = "-"
		}
		value, usage := flag.UnquoteUsage(f)
		if value != "" {
			value = " " + value
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "0s" {
			usage += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(&b, "  %s%s%s\n        %s\n", dashes, f.Name, value, strings.ReplaceAll(usage, "\n", "\n        "))
	})
	return b.String()
}

// given tells whether a flag stands on the command line.
func given(fs *flag.FlagSet, name string) bool {
	found := false
	fs.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}
