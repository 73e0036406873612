package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"netstage/fetch/manifest"
)

const keylistHelp = `Writes a list of the public keys that sign manifests from now on, and signs it
by a key of the machines' initrd: keys come and go without a new initrd.

  rootfs.manifest.keys=http://SERVER/FILE

Machines with that parameter, best in the initrd's own, take manifests that
--threshold of the listed keys have signed, and no others. One that can remember
takes no list with a lower serial than one that it has booted by, nor any
manifest without a list from then on.

examples:
  netstage keylist ops.pub ci.pub --threshold 2 --key root.key -o keys.list
  netstage keylist new.pub --key root.key --not-after 2027-12-01 -o keys.list`

func newKeyList(std streams) *cobra.Command {
	fs := newFlags()
	var keys list
	fs.Var(&keys, "key", "sign by the secret key `FILE`, of one in the initrd; may be repeated")
	password := fs.String("password-file", "", "the first line of `FILE` unlocks the keys")
	threshold := fs.Int("threshold", 1, "how many of the listed keys have to sign, `NUMBER`")
	serial := fs.Uint64("serial", 0, "the `NUMBER` that grows with every list (default the time, in seconds since 1970)")
	notAfter := fs.String("not-after", "", "boot nothing by it after `DAY`, or a time")
	output := fs.StringP("output", "o", "", "write the list to `FILE`")
	return newCommand("netstage keylist KEY.pub… --key FILE -o FILE [FLAGS]", "sign a list of the keys that sign from now on", keylistHelp, fs,
		func(ctx context.Context, files []string) error {
			switch {
			case len(files) == 0:
				return usageError("which keys? Give KEY.pub")
			case len(keys) == 0:
				return usageError("by which key? Give --key FILE, of one in the initrd")
			case *output == "":
				return usageError("where to? Give -o FILE")
			}
			listed, err := loadTrusted(files)
			if err != nil {
				return err
			}
			created := time.Now().UTC().Truncate(time.Second)
			if *serial == 0 {
				*serial = uint64(created.Unix())
			}
			l := manifest.NewKeyList(listed, *threshold, *serial, created)
			if l.NotAfter, err = parseLimit("--not-after", *notAfter); err != nil {
				return err
			}
			body, err := l.Marshal()
			if err != nil {
				return err
			}
			signatures, ids, err := signBy(ctx, keys, *password, std, body, "key list of "+created.Format(time.RFC3339))
			if err != nil {
				return err
			}
			if err := writeSigned(ctx, *output, body, signatures); err != nil {
				return err
			}
			fmt.Fprintf(std.out, "%s: serial %d, %d of %s have to sign; signed by %s\n", *output, *serial, *threshold, strings.Join(listed.Names(), ", "), ids)
			return nil
		})
}
