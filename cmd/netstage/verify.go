package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"netstage/cmd/netstage/image"
)

const verifyHelp = `Verifies an image here as a machine would: by a digest, by its verity tree, by a
signed manifest; all that is given must hold. Without any, what lies beside it
counts: IMAGE.roothash with IMAGE.verity, and IMAGE.sha256. Without IMAGE, the
one that the manifest names is verified.

examples:
  netstage verify nix-store.squashfs
  netstage verify nix-store.squashfs --roothash 8f0c…
  netstage verify --manifest web.manifest --trusted ops.pub --init /nix/store/…/init`

func newVerify(std streams) *cobra.Command {
	fs := newFlags()
	var v vouching
	v.flags(fs)
	return newCommand("netstage verify [IMAGE] [FLAGS]", "verify an image by digest, tree or manifest", verifyHelp, fs,
		func(ctx context.Context, images []string) error {
			var err error
			switch {
			case len(images) > 1:
				return usageError(fmt.Sprintf("one image at a time: what is %q?", images[1]))
			case len(images) == 0 && len(v.manifests) == 0:
				return usageError("which image? Give IMAGE, or --manifest FILE")
			}
			if len(images) == 1 && v.sha256 == "" && v.rootHash == "" && len(v.manifests) == 0 && len(v.trust) == 0 {
				if v.sha256, err = image.ReadDigest(images[0]); err != nil {
					return err
				}
				if v.rootHash, err = image.ReadRootHash(images[0]); err != nil {
					return err
				}
				if v.sha256 == "" && v.rootHash == "" {
					return fmt.Errorf("nothing vouches for %s: there is no %[1]s.sha256 and no %[1]s.roothash with %[1]s.verity", images[0])
				}
			}
			o, err := v.order(images)
			if err != nil {
				return err
			}
			console := newMessages(std.err)
			defer console.close()
			o.Fetch.Log = console.logger()
			o.Fetch.Progress = console.progress
			// What is not here is fetched to be verified, and thrown away.
			dir, err := os.MkdirTemp("", "netstage-verify-")
			if err != nil {
				return err
			}
			defer os.RemoveAll(dir)
			o.Fetch.Store = storeIn(dir)
			i, err := getImage(ctx, o)
			if err != nil {
				return err
			}
			defer i.Close()
			fmt.Fprintf(std.out, "%s: %d bytes, verified\n", i.Source, i.Size)
			for _, digest := range []struct {
				name  string
				value []byte
			}{{"sha256", i.SHA256}, {"roothash", i.RootHash}} {
				if digest.value != nil {
					fmt.Fprintf(std.out, "  %s %s\n", digest.name, hex.EncodeToString(digest.value))
				}
			}
			if i.Signed != nil {
				fmt.Fprintf(std.out, "  signed by %s, key %s: %q of %s\n  init %s\n", strings.Join(i.Signed.Keys.Names(), ", "), strings.Join(i.Signed.Keys.IDs(), " "), i.Signed.Name,
					i.Signed.Created.Format("2006-01-02 15:04:05"), i.Init)
			}
			return nil
		})
}
