package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"netstage/cmd/netstage/internal/registry"
	"netstage/fetch/oci"
	"netstage/fetch/ref"
	"netstage/fetch/vouch"
)

const pullHelp = `Gets what "netstage push" put into an OCI registry, by the engine that machines
fetch by, into the folder DIR, which "netstage serve" serves then. Each file is
verified by the digest that the registry's manifest names, and what DIR has
already is not fetched again. Other files in DIR are left alone.

Of an image with a verity tree only the blocks are fetched that are not in the
image of that name in DIR, nor in those that --seed names: an erofs of the next
version has most blocks of the one before.

REF is oci://HOST[:PORT]/NAME[:TAG][@sha256:DIGEST]; a digest pins all of it.
What REF is then is printed, by digest. Of several platforms the one of this
host is taken, or that of --platform.

examples:
  netstage pull oci://registry.example/web:42 boot/
  netstage pull oci://registry.example/web:43 v43/ --seed v42/nix-store.erofs
  netstage pull oci://registry.example/web@sha256:8f0c… boot/ --platform linux/arm64`

func newPull(std streams) *cobra.Command {
	fs := newFlags()
	var r registryFlags
	r.flags(fs)
	var seeds list
	fs.Var(&seeds, "seed", "take what `FILE`, an older image, has of this one; may be repeated")
	platform := fs.String("platform", "", "take what is for `OS/ARCH[/VARIANT]` (default this host's)")
	return newCommand("netstage pull REF DIR [FLAGS]", "get a system from an OCI registry", pullHelp, fs,
		func(ctx context.Context, args []string) error {
			if len(args) != 2 {
				return usageError("what, and where to? Give REF and DIR")
			}
			from, err := artifact(args[0])
			if err != nil {
				return err
			}
			older, closeSeeds, err := openSeeds(seeds)
			if err != nil {
				return err
			}
			defer closeSeeds()
			console := newMessages(std.err)
			defer console.close()
			o, err := r.order(from, *platform)
			if err != nil {
				return err
			}
			o.Fetch.Log, o.Fetch.Progress = console.logger(), console.progress
			if err := os.MkdirAll(args[1], 0o777); err != nil {
				return err
			}
			a, err := vouch.Find(ctx, o)
			if err != nil {
				return failure(ctx, err)
			}
			if _, err := registry.Pull(ctx, a, args[1], registry.Everything, older...); err != nil {
				return failure(ctx, err)
			}
			if len(seeds) > 0 && (a.RootHash == nil || a.Tree == nil) {
				fmt.Fprintln(std.err, "warning: the seeds were of no use: blocks are known by a verity tree, and there is none")
			}
			console.close()
			fmt.Fprintln(std.out, from.At(a.Digest))
			return nil
		})
}

// order asks a registry for an artifact.
func (r *registryFlags) order(from ref.Artifact, platform string) (o vouch.Order, err error) {
	l, err := ref.Parse(from.String())
	if err != nil {
		return o, err
	}
	o.Images = []ref.Location{l}
	if platform != "" {
		part := strings.Split(platform, "/")
		if len(part) < 2 || len(part) > 3 {
			return o, usageError("--platform " + platform + ": want linux/amd64 or linux/arm64/v8")
		}
		o.Platform = oci.Platform{OS: part[0], Architecture: part[1], Variant: strings.Join(part[2:], "")}
	}
	if o.Credentials, err = credentials(r.authFile, o.Images); err != nil {
		return o, err
	}
	if r.ca != "" {
		if o.Fetch.Roots, err = readAuthorities(r.ca); err != nil {
			return o, err
		}
	}
	o.Fetch.Proxy, o.Fetch.UserAgent = http.ProxyFromEnvironment, "netstage/"+version
	o.Fetch.Seed = uint64(os.Getpid())<<32 ^ uint64(time.Now().UnixNano())
	return o, nil
}
