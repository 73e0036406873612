package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"netstage/cmd/netstage/internal/registry"
	"netstage/fetch/ref"
)

const pushHelp = `Puts what DIR holds to boot a system into an OCI registry, as one artifact with
a layer for each file: kernel, initrds, cmdline, the image with its verity tree,
its hot list, the signed manifest and its signature. DIR is a folder as "netstage
serve" serves it, or "netstage image --boot" makes it. Other files are left out.

REF is oci://HOST[:PORT]/NAME[:TAG]; oci+http:// means a registry without TLS.
Files that the registry has are not sent again, and the tags change when all
else is there. The reference by digest, which pins all of it, is printed:

  rootfs=oci://HOST/NAME@sha256:DIGEST

With --platform the tags name an index of several platforms, in which this one
is replaced. Logins are those of "docker login", or of --authfile.

examples:
  netstage push boot/ oci://registry.example/web:42 --tag stable
  netstage push arm/ oci://registry.example/web:42 --platform linux/arm64`

// registryFlags are those of every command that talks to a registry.
type registryFlags struct {
	authFile, ca string
}

func (r *registryFlags) flags(fs *pflag.FlagSet) {
	givenVar(fs, &r.authFile, "authfile", "the `FILE` with logins for registries (default docker's config.json)")
	givenVar(fs, &r.ca, "ca", "trust the certificate authorities in `FILE` alone")
}

func (r *registryFlags) access() (a registry.Access, err error) {
	a = registry.Access{AuthFile: r.authFile, UserAgent: "netstage/" + version}
	if r.ca != "" {
		a.Roots, err = readAuthorities(r.ca)
	}
	return a, err
}

func newPush(std streams) *cobra.Command {
	fs := newFlags()
	var r registryFlags
	r.flags(fs)
	var tags list
	fs.Var(&tags, "tag", "one more `TAG` for it; may be repeated")
	platform := fs.String("platform", "", "it is for `OS/ARCH[/VARIANT]`, one of several: the tags name an index")
	return newCommand("netstage push DIR REF [FLAGS]", "put a system into an OCI registry", pushHelp, fs,
		func(ctx context.Context, args []string) error {
			if len(args) != 2 {
				return usageError("what, and where to? Give DIR and REF")
			}
			return push(ctx, args[0], args[1], tags, *platform, r, std)
		})
}

// push pushes a folder, and prints what pins it.
func push(ctx context.Context, dir, reference string, tags []string, platform string, r registryFlags, std streams) error {
	to, err := artifact(reference)
	if err != nil {
		return err
	}
	if to.Digest != "" {
		return usageError("REF has a digest, which comes of what is pushed: give a tag")
	}
	for _, tag := range tags {
		if _, err := artifact("oci://" + to.Host + "/" + to.Name + ":" + tag); err != nil {
			return err
		}
	}
	access, err := r.access()
	if err != nil {
		return err
	}
	repo, err := access.Open(to)
	if err != nil {
		return err
	}
	var files []registry.File
	var left []string
	if err := working(std.err, "hashing "+dir, time.Second, func() error {
		files, left, err = registry.Files(ctx, dir)
		return err
	}); err != nil {
		return err
	}
	if len(left) > 0 {
		fmt.Fprintf(std.err, "left out: %s\n", strings.Join(left, ", "))
	}
	tell := &sending{messages: newMessages(std.err), w: std.err}
	defer tell.close()
	digest, err := registry.Push{Files: files, Tags: append([]string{to.Tag}, tags...), Platform: platform, Tell: tell.file}.To(ctx, repo)
	tell.close()
	if errors.Is(err, context.Canceled) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%s: %w", to, err)
	}
	fmt.Fprintln(std.out, to.At(strings.TrimPrefix(digest, "sha256:")))
	return nil
}

// artifact reads a REF of a registry.
func artifact(text string) (ref.Artifact, error) {
	l, err := ref.Parse(text)
	switch {
	case err != nil:
		return ref.Artifact{}, usageError(err.Error())
	case l.Kind != ref.OCI:
		return ref.Artifact{}, usageError(fmt.Sprintf("%s is no reference of a registry: want oci://HOST/NAME:TAG", l))
	}
	return l.Artifact(), nil
}

// sending shows how files go to a registry: a line for each, and on a terminal
// how far it is.
type sending struct {
	*messages
	w     io.Writer
	begun time.Time
	of    string
	shown time.Time
}

func (s *sending) file(f registry.File, sent int64, there bool) {
	if s.of != f.Name {
		s.of, s.begun = f.Name, time.Now()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case there:
		s.clear()
		fmt.Fprintf(s.w, "%s: %.1f MiB, there already\n", f.Name, mib(f.Size))
	case sent == f.Size:
		s.clear()
		fmt.Fprintf(s.w, "%s: %.1f MiB in %.1f s\n", f.Name, mib(f.Size), time.Since(s.begun).Seconds())
	case time.Since(s.shown) > 100*time.Millisecond:
		s.shown = time.Now()
		s.show(fmt.Sprintf("%s: %.1f of %.1f MiB", f.Name, mib(sent), mib(f.Size)))
	}
}
