package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"netstage/cmd/netstage/internal/output"
	"netstage/fetch"
	"netstage/fetch/oci"
	"netstage/fetch/ref"
	"netstage/fetch/store"
	"netstage/fetch/vouch"
	"netstage/stage1/fault"
)

const fetchHelp = `Fetches an image as a machine would: the same engine, with the same progress and
the same errors. It survives broken connections, stalls and servers that are
down, for ever, and verifies while it streams. Several REFs are mirrors of one
image: http://, https:// or tftp:// URLs, or oci://HOST/NAME[:TAG][@sha256:DIGEST]
in a registry. Without REF, the manifest names the image.

With a root hash, or a manifest that has one, the blocks that --seed FILE holds
are taken from there, wherever they lie in it, and only the others are fetched:
an older image, or the device that the running system is on.

FILE appears when the image is complete and verified; nothing is left behind
otherwise. The environment's proxy variables hold.

examples:
  netstage fetch http://10.0.0.1/nix-store.squashfs -o image --sha256 0ssi…
  netstage fetch http://a/x.squashfs http://b/x.squashfs -o image --roothash 8f0c…
  netstage fetch --manifest https://boot/web.manifest --trusted ops.pub -o image
  netstage fetch https://boot/web.erofs --roothash 8f0c… --seed web-old.erofs -o web.erofs`

func newFetch(std streams) *cobra.Command {
	fs := newFlags()
	var v vouching
	v.flags(fs)
	out := fs.StringP("output", "o", "", "write the image to `FILE`")
	var ca string
	givenVar(fs, &ca, "ca", "trust the certificate authorities in `FILE` alone")
	var token string
	givenVar(fs, &token, "token", "send the bearer token in `FILE` to the servers, never to where they redirect")
	var newer string
	givenVar(fs, &newer, "newer", "refuse manifests older than the `DAY` or time, such as 2026-11-23 or 2026-11-23T08:00:00Z")
	var cache string
	givenVar(fs, &cache, "cache", "ask the cache at `URL` first, for what something vouches for")
	var seeds list
	fs.Var(&seeds, "seed", "take what `FILE`, an older image, has of this one; may be repeated")
	var authFile string
	givenVar(fs, &authFile, "authfile", "the `FILE` with logins for registries (default docker's config.json)")
	timeout := fs.Duration("timeout", 0, "give up after `TIME`, such as 10m (default never)")
	return mark(newCommand("netstage fetch [REF …] -o FILE [FLAGS]", "fetch an image as a machine would", fetchHelp, fs,
		func(ctx context.Context, refs []string) error {
			var err error
			switch {
			case len(refs) == 0 && len(v.manifests) == 0:
				return usageError("what? Give REF, or --manifest REF")
			case *out == "":
				return usageError("where to? Give -o FILE")
			}
			for _, text := range refs {
				if l, err := ref.Parse(text); err != nil || l.URL() == nil {
					return usageError(fmt.Sprintf("%s is no http://, https:// or tftp:// URL, and no oci://HOST/NAME", ref.Redacted(text)))
				}
			}
			to, err := output.Name(*out)
			if err != nil {
				return err
			}
			o, err := v.order(refs)
			if err != nil {
				return err
			}
			if cache != "" {
				if o.Fetch.Cache, err = ref.ParseURL(cache); err != nil {
					return usageError("--cache: " + err.Error())
				}
			}
			older, closeSeeds, err := openSeeds(seeds)
			if err != nil {
				return err
			}
			defer closeSeeds()
			o.Seeds = older
			if ca != "" {
				if o.Fetch.Roots, err = readAuthorities(ca); err != nil {
					return err
				}
			}
			if newer != "" {
				if o.NotBefore, err = parseDay(newer); err != nil {
					return usageError("--newer " + newer + " is neither a day nor a time")
				}
			}
			if token != "" {
				if o.Fetch.Bearer, err = bearer(token); err != nil {
					return err
				}
			}
			if o.Credentials, err = credentials(authFile, o.Places()); err != nil {
				return err
			}
			if *timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, *timeout)
				defer cancel()
			}
			console := newMessages(std.err)
			defer console.close()
			o.Fetch.Log, o.Fetch.Progress = console.logger(), console.progress
			o.Fetch.Store, o.Fetch.Digest = store.File(to), true
			o.Fetch.UserAgent = "netstage/" + version
			i, err := getImage(ctx, o)
			if err != nil {
				return err
			}
			defer i.Close()
			switch {
			case len(seeds) > 0 && i.RootHash == nil:
				fmt.Fprintln(std.err, "warning: the seeds were of no use: blocks are known by a root hash, and there is none")
			case i.Stats.Requests == 0 && i.Seeded == 0:
				return fmt.Errorf("the manifest names a local file, %s: there is nothing to fetch", i.Source)
			}
			console.close()
			fmt.Fprintf(std.out, "%x  %s\n", i.SHA256, *out)
			return nil
		}), merges)
}

// getImage is vouch.Get for the command line: failures have their class and
// what was tried, the interruption by the user has none.
func getImage(ctx context.Context, o vouch.Order) (*vouch.Image, error) {
	o.Fetch.Proxy = http.ProxyFromEnvironment
	o.Fetch.Seed = uint64(os.Getpid())<<32 ^ uint64(time.Now().UnixNano())
	i, err := vouch.Get(ctx, o)
	if err != nil {
		return nil, failure(ctx, err)
	}
	return i, nil
}

// failure is an error with its class.
func failure(ctx context.Context, err error) error {
	switch class := fault.GivenClass(err); {
	case errors.Is(context.Cause(ctx), context.Canceled):
		return context.Canceled
	case class != "":
		return fmt.Errorf("%s: %w", class, err)
	}
	return err
}

// credentials are the logins of a file, or of docker's own where a place is in
// a registry.
func credentials(file string, places []ref.Location) (c oci.Credentials, err error) {
	own := file == ""
	if own {
		if !slices.ContainsFunc(places, func(l ref.Location) bool { return l.Kind == ref.OCI }) {
			return c, nil
		}
		dir := os.Getenv("DOCKER_CONFIG")
		if dir == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return c, nil // nobody who could have logged in
			}
			dir = filepath.Join(home, ".docker")
		}
		file = filepath.Join(dir, "config.json")
	}
	text, err := os.ReadFile(file)
	if own && errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err == nil {
		c, err = oci.ParseCredentials(text)
	}
	if err != nil {
		return c, fmt.Errorf("logins for registries: %s: %w", file, err)
	}
	return c, nil
}

// parseDay reads a day, which means its start in UTC, or a time (RFC 3339).
func parseDay(s string) (time.Time, error) {
	if at, err := time.Parse(time.DateOnly, s); err == nil {
		return at, nil
	}
	return time.Parse(time.RFC3339, s)
}

// bearer is the token of a file, for every server that the user names.
func bearer(file string) (func(*url.URL) string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	token, err := fetch.ParseToken(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return func(*url.URL) string { return token }, nil
}

func readAuthorities(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", file)
	}
	return pool, nil
}

// storeIn is a store for an image that is not kept.
func storeIn(dir string) store.Store { return store.File(filepath.Join(dir, "image")) }
