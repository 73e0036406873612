package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"netstage/cmd/netstage/internal/output"
)

const manHelp = `Writes the manual pages of netstage and its commands into DIR: netstage.1,
netstage-image.1 and so on.

examples:
  netstage man /usr/local/share/man/man1`

func newMan(std streams) *cobra.Command {
	var c *cobra.Command
	c = newCommand("netstage man DIR", "write the manual pages", manHelp, newFlags(),
		func(ctx context.Context, dirs []string) error {
			if len(dirs) != 1 {
				return usageError("where to? Give one DIR")
			}
			var pages output.Set
			defer pages.Close()
			var files []string
			for _, command := range append([]*cobra.Command{c.Root()}, c.Root().Commands()...) {
				var text strings.Builder
				writeManPage(&text, command)
				file := filepath.Join(dirs[0], pageOf(command)+".1")
				if err := pages.Add(ctx, file, 0o644, output.Of([]byte(text.String()))); err != nil {
					return err
				}
				files = append(files, file)
			}
			if err := pages.Commit(); err != nil {
				return err
			}
			for _, file := range files {
				fmt.Fprintln(std.out, file)
			}
			return nil
		})
	return c
}

func pageOf(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// writeManPage writes the manual page of a command, in man(7)'s macros, from
// the text of its --help.
func writeManPage(w io.Writer, c *cobra.Command) {
	fmt.Fprintf(w, ".TH %s 1 \"\" \"netstage %s\" \"netstage\"\n", strings.ToUpper(roff(pageOf(c))), roff(ownVersion()))
	fmt.Fprintf(w, ".SH NAME\n%s \\- %s\n", roff(pageOf(c)), roff(c.Short))
	fmt.Fprintf(w, ".SH SYNOPSIS\n%s\n.SH DESCRIPTION\n", roff(usageOf(c)))
	writeParagraphs(w, c.Long)
	if c.HasAvailableSubCommands() {
		fmt.Fprint(w, ".SH COMMANDS\n")
		for _, sub := range c.Commands() {
			fmt.Fprintf(w, ".TP\n\\fB%s\\fR(1)\n%s\n", roff(pageOf(sub)), roff(sub.Short))
		}
	}
	heading := ".SH OPTIONS\n"
	eachFlag(c, func(flag, usage string) {
		fmt.Fprintf(w, "%s.TP\n\\fB%s\\fR\n%s\n", heading, roff(flag), roff(usage))
		heading = ""
	})
	if c.HasParent() {
		fmt.Fprintf(w, ".SH SEE ALSO\n\\fB%s\\fR(1)\n", roff(pageOf(c.Root())))
	}
}

// writeParagraphs fills paragraphs, and leaves the indented ones as they are.
// What follows the line "examples:" is a section.
func writeParagraphs(w io.Writer, text string) {
	for _, paragraph := range strings.Split(strings.TrimSpace(text), "\n\n") {
		first, rest, _ := strings.Cut(paragraph, "\n")
		if first == "examples:" || first == "example:" {
			fmt.Fprint(w, ".SH EXAMPLES\n")
			paragraph = rest
		} else {
			fmt.Fprint(w, ".PP\n")
		}
		filled := true
		for line := range strings.SplitSeq(paragraph, "\n") {
			if plain := strings.HasPrefix(line, "  "); plain == filled {
				fmt.Fprintln(w, map[bool]string{true: ".nf", false: ".fi"}[plain])
				filled = !plain
			}
			fmt.Fprintln(w, roff(line))
		}
		if !filled {
			fmt.Fprintln(w, ".fi")
		}
	}
}

// roff has troff print a text as it is.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", "...").Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}
