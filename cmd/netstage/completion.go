package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const completionHelp = `Writes a script that has a shell complete the commands and flags of netstage:
bash, zsh or fish.

examples:
  netstage completion bash >/etc/bash_completion.d/netstage
  netstage completion zsh >"${fpath[1]}/_netstage"
  netstage completion fish >~/.config/fish/completions/netstage.fish`

func newCompletion(std streams) *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	var c *cobra.Command
	c = newCommand("netstage completion bash|zsh|fish", "write a script for the completion of a shell", completionHelp, newFlags(),
		func(_ context.Context, args []string) error {
			if len(args) != 1 {
				return usageError("which shell? One of " + strings.Join(shells, ", "))
			}
			switch root := c.Root(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(std.out, true)
			case "zsh":
				return root.GenZshCompletion(std.out)
			case "fish":
				return root.GenFishCompletion(std.out, true)
			}
			return usageError(fmt.Sprintf("unknown shell %q; there are %s", args[0], strings.Join(shells, ", ")))
		})
	c.ValidArgs = shells
	return c
}

// completionOf completes the value of a flag by what its usage calls it: files,
// folders, or one of the words that it lists. Nothing else is a file.
func completionOf(f *pflag.Flag) cobra.CompletionFunc {
	value, usage := pflag.UnquoteUsage(f)
	_, rest, _ := strings.Cut(usage, ": ")
	directive := cobra.ShellCompDirectiveNoFileComp
	var words []string
	switch {
	case value == "DIR":
		directive = cobra.ShellCompDirectiveFilterDirs
	case strings.Contains(value, "FILE"), strings.Contains(value, "PATH"), strings.Contains(value, "SRC"), value == "REF", value == "NAME":
		directive = cobra.ShellCompDirectiveDefault
	case strings.Contains(rest, " or "):
		for word := range strings.FieldsFuncSeq(rest, func(r rune) bool { return r == ' ' || r == ',' }) {
			if word != "or" {
				words = append(words, word)
			}
		}
	}
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) { return words, directive }
}
