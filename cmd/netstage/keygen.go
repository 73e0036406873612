package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"aead.dev/minisign"
	"github.com/spf13/cobra"
)

const keygenHelp = `Makes a pair of keys for signed manifests: NAME.key, the secret one, and
NAME.pub. They are minisign's, which can use them as well. Files that exist are
not replaced. The password that locks the secret key is asked for.

Put the public key into the initrd, and machines boot only what is signed:

  netstage initrd … --file NAME.pub:/etc/netstage/trusted.d/NAME.pub

examples:
  netstage keygen -o ops
  netstage keygen -o ci --no-password`

func newKeygen(std streams) *cobra.Command {
	fs := newFlags()
	output := fs.StringP("output", "o", "", "write the keys to `NAME`.key and NAME.pub")
	passwordFile := fs.String("password-file", "", "lock the secret key by the first line of `FILE`")
	noPassword := fs.Bool("no-password", false, "leave the secret key unlocked")
	return newCommand("netstage keygen -o NAME [FLAGS]", "make keys for signed manifests", keygenHelp, fs,
		func(ctx context.Context, args []string) error {
			if err := noOperands(args); err != nil {
				return err
			}
			switch {
			case *output == "":
				return usageError("where to? Give -o NAME")
			case *noPassword && *passwordFile != "":
				return usageError("--no-password or --password-file, not both")
			}
			public, private, err := minisign.GenerateKey(nil)
			if err != nil {
				return err
			}
			secret, err := private.MarshalText()
			if err == nil && !*noPassword {
				secret, err = lock(ctx, private, *passwordFile, std)
			}
			if err != nil {
				return err
			}
			open, err := public.MarshalText()
			if err != nil {
				return err
			}
			if err := createFile(*output+".key", secret, 0o600); err != nil {
				return err
			}
			if err := createFile(*output+".pub", append(open, '\n'), 0o644); err != nil {
				return errors.Join(err, os.Remove(*output+".key"))
			}
			fmt.Fprintf(std.out, "key %016X: %s.key is secret, %s.pub goes to /etc/netstage/trusted.d in the initrd\n", public.ID(), *output, *output)
			return nil
		})
}

// lock encrypts a secret key.
func lock(ctx context.Context, private minisign.PrivateKey, passwordFile string, std streams) ([]byte, error) {
	password, err := newPassword(ctx, passwordFile, "password for the secret key", std)
	if err != nil {
		return nil, err
	}
	if password == "" {
		return nil, errors.New("the password is empty; --no-password leaves the key unlocked")
	}
	return minisign.EncryptKey(password, private)
}
