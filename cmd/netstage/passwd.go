package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"netstage/stage1/password"
)

const passwdHelp = `Makes the hash of a password for shells, by argon2id, which a machine takes 64 MiB
of memory and a fraction of a second to check. With the hash in its initrd every
shell on a console asks for the password: at breakpoints and in the failure menu.
FILE is not replaced if it exists. A line of "openssl passwd -6" does as well.

examples:
  netstage passwd -o shell-password
  netstage initrd … --shell-password shell-password -o initrd.zst`

func newPasswd(std streams) *cobra.Command {
	fs := newFlags()
	output := fs.StringP("output", "o", "", "write the hash to `FILE`")
	passwordFile := fs.String("password-file", "", "the password is the first line of `FILE`")
	return newCommand("netstage passwd -o FILE [FLAGS]", "make the hash of a password for shells", passwdHelp, fs,
		func(ctx context.Context, args []string) error {
			if err := noOperands(args); err != nil {
				return err
			}
			if *output == "" {
				return usageError("where to? Give -o FILE")
			}
			text, err := newPassword(ctx, *passwordFile, "password for shells", std)
			if err != nil {
				return err
			}
			if text == "" {
				return errors.New("the password is empty")
			}
			hash, err := password.New([]byte(text))
			if err != nil {
				return err
			}
			if err := createFile(*output, []byte(hash+"\n"), 0o600); err != nil {
				return err
			}
			fmt.Fprintf(std.out, "%s goes into the initrd by --shell-password\n", *output)
			return nil
		})
}

// newPassword reads a password that is to be set: at a terminal twice.
func newPassword(ctx context.Context, file, prompt string, std streams) (string, error) {
	text, err := readPassword(ctx, file, prompt, std)
	if err != nil || file != "" {
		return text, err
	}
	again, err := readPassword(ctx, "", "once more", std)
	if err != nil {
		return "", err
	}
	if again != text {
		return "", errors.New("the passwords differ")
	}
	return text, nil
}
