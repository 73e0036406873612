package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"netstage/cmd/netstage/image"
	"netstage/cmd/netstage/internal/inspect"
	"netstage/fetch/manifest"
	"netstage/fetch/ref"
	"netstage/fetch/vouch"
)

const signHelp = `Writes a manifest that names an image, its size and digests and the init that
may be started, and signs it as minisign does: FILE and FILE.minisig. A machine
whose initrd has the public key in /etc/netstage/trusted.d boots by it:

  rootfs.manifest=http://SERVER/FILE

so that its boot script never changes. The image is looked for beside the
manifest, by the path from the one to the other, or by --path, a URL for
instance. Its verity tree, IMAGE.verity with IMAGE.roothash, is checked and
signed too where "netstage image" left one.

examples:
  netstage sign nix-store.squashfs --init /nix/store/…/init --key ops.key
  netstage sign v2/web.squashfs --init /nix/store/…/init --key ops.key --name web -o web.manifest`

func newSign(std streams) *cobra.Command {
	fs := newFlags()
	key := fs.String("key", "", "sign by the secret key `FILE`")
	passwordFile := fs.String("password-file", "", "the first line of `FILE` unlocks the key")
	init := fs.String("init", "", "the only `PATH` that may be started, inside the new root")
	name := fs.String("name", "", "what to call the system, `TEXT` (default the image's file name)")
	ref := fs.String("path", "", "where machines find the image, `REF` (default its path beside the manifest)")
	output := fs.StringP("output", "o", "", "write the manifest to `FILE` (default IMAGE.manifest)")
	return newCommand("netstage sign IMAGE --init PATH --key FILE [FLAGS]", "sign an image and its init in a manifest", signHelp, fs,
		func(ctx context.Context, images []string) error {
			var err error
			switch {
			case len(images) != 1:
				return usageError("which image? Give one IMAGE")
			case *key == "":
				return usageError("by which key? Give --key FILE; netstage keygen makes one")
			case !strings.HasPrefix(*init, "/"):
				return usageError("what may be started? Give --init PATH, absolute inside the new root")
			}
			file := images[0]
			if *output == "" {
				*output = file + ".manifest"
			}
			if *name == "" {
				*name = strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
			}
			if *ref == "" {
				if *ref, err = pathBeside(*output, file); err != nil {
					return err
				}
			}
			var signed manifest.Image
			err = working(std.err, "reading "+file, time.Second, func() (err error) {
				if signed, err = describeImage(ctx, file, *ref); err != nil {
					return err
				}
				return checkInit(ctx, file, *init)
			})
			if err != nil {
				return err
			}
			private, err := loadSecretKey(*key, *passwordFile, std)
			if err != nil {
				return err
			}
			created := time.Now().UTC().Truncate(time.Second)
			m := manifest.Manifest{Name: *name, Created: created, Init: *init, Images: []manifest.Image{signed}}
			body, err := m.Marshal()
			if err != nil {
				return err
			}
			signature, err := manifest.Sign(private, body, fmt.Sprintf("%s of %s", *name, created.Format(time.RFC3339)))
			if err != nil {
				return err
			}
			// A machine that asks between the two refuses the pair, and asks again.
			if err := replaceFile(*output, body); err != nil {
				return err
			}
			if err := replaceFile(*output+manifest.Suffix, signature); err != nil {
				return err
			}
			fmt.Fprintf(std.out, "%s: %s, %d bytes, signed by key %016X\n", *output, *ref, signed.Size, private.ID())
			return nil
		})
}

// pathBeside is the reference that leads from a manifest to an image on the same server.
func pathBeside(manifest, image string) (string, error) {
	from, err := filepath.Abs(filepath.Dir(manifest))
	if err != nil {
		return "", err
	}
	to, err := filepath.Abs(image)
	if err != nil {
		return "", err
	}
	return filepath.Rel(from, to)
}

// checkInit refuses to sign an init that the image does not have: no machine would
// start it. What can't be looked into is signed as it is said.
func checkInit(ctx context.Context, file, init string) error {
	opened, begin, err := openStart(file)
	if err != nil {
		return err
	}
	defer opened.Close()
	if !inspect.IsImage(begin) {
		return nil
	}
	found, err := inspect.HasInit(ctx, opened, init)
	if err == nil && !found {
		err = fmt.Errorf("%s has no %s: netstage inspect tells what it has", file, init)
	}
	return err
}

// describeImage reads an image for what a manifest says of it. A tree that isn't the image's is an error: no machine
// would boot.
func describeImage(ctx context.Context, file, name string) (manifest.Image, error) {
	m := manifest.Image{Path: name}
	root, err := image.ReadRootHash(file)
	if err != nil {
		return m, err
	}
	path, err := filepath.Abs(file)
	if err != nil {
		return m, err
	}
	order := vouch.Order{Images: []ref.Location{ref.FileAt(path)}}
	if order.RootHash, err = hex.DecodeString(root); err != nil || len(order.RootHash) == 0 {
		order.RootHash = nil
	}
	i, err := vouch.Get(ctx, order)
	if err != nil {
		return m, err
	}
	defer i.Close()
	hash := sha256.New()
	if m.Size, err = io.Copy(hash, i.File); err != nil {
		return m, err
	}
	m.SHA256, m.RootHash = hash.Sum(nil), i.RootHash
	if info, err := os.Stat(file); err == nil && info.Size() != m.Size {
		return m, fmt.Errorf("%s changes while it is read", file)
	}
	return m, nil
}
