package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"netstage/cmd/netstage/image"
	"netstage/cmd/netstage/internal/ctxio"
	"netstage/cmd/netstage/internal/inspect"
	"netstage/cmd/netstage/internal/output"
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

A machine that can remember boots no manifest of that name with a lower serial
than one that it has booted: to go back, sign the old image again. Days are in
UTC; until --not-before and after --not-after it boots nothing by the manifest.
--cmdline names what the command line may hold besides what the initrd allows: a
parameter, one with its value, or the beginning of names and a *.

With several --key all sign; where the keys are in different places, the others
add their signature by --add.

examples:
  netstage sign nix-store.squashfs --init /nix/store/…/init --key ops.key
  netstage sign v2/web.squashfs --init /nix/store/…/init --key ops.key --name web -o web.manifest --not-after 2027-03-01
  netstage sign --add web.manifest --key second.key`

// signing are the flags of "netstage sign".
type signing struct {
	keys                list
	password, init      string
	name, ref, output   string
	notBefore, notAfter string
	cmdline             list
	serial              uint64
	format              int
	add                 bool
}

func newSign(std streams) *cobra.Command {
	fs := newFlags()
	var o signing
	fs.Var(&o.keys, "key", "sign by the secret key `FILE`; may be repeated")
	fs.StringVar(&o.password, "password-file", "", "the first line of `FILE` unlocks the keys")
	fs.StringVar(&o.init, "init", "", "the only `PATH` that may be started, inside the new root")
	fs.StringVar(&o.name, "name", "", "what to call the system, `TEXT` (default the image's file name)")
	fs.StringVar(&o.ref, "path", "", "where machines find the image, `REF` (default its path beside the manifest)")
	fs.StringVarP(&o.output, "output", "o", "", "write the manifest to `FILE` (default IMAGE.manifest)")
	fs.Uint64Var(&o.serial, "serial", 0, "the `NUMBER` that grows with every manifest of that name (default the time, in seconds since 1970)")
	fs.StringVar(&o.notBefore, "not-before", "", "boot nothing by it before `DAY`, or a time")
	fs.StringVar(&o.notAfter, "not-after", "", "boot nothing by it after `DAY`, or a time")
	fs.Var(&o.cmdline, "cmdline", "the command line may hold `PARAMETER`; may be repeated")
	fs.IntVar(&o.format, "format", manifest.Version2, "the `VERSION` of the format; 1 for initrds before 0.3")
	fs.BoolVar(&o.add, "add", false, "add signatures to the manifest that is there, instead of IMAGE")
	return newCommand("netstage sign IMAGE --init PATH --key FILE [FLAGS]", "sign an image and its init in a manifest", signHelp, fs,
		func(ctx context.Context, files []string) error {
			switch {
			case len(files) != 1:
				return usageError("which image? Give one IMAGE")
			case len(o.keys) == 0:
				return usageError("by which key? Give --key FILE; netstage keygen makes one")
			case o.add:
				return o.addTo(ctx, files[0], std)
			case !strings.HasPrefix(o.init, "/"):
				return usageError("what may be started? Give --init PATH, absolute inside the new root")
			}
			return o.sign(ctx, files[0], std)
		})
}

// sign makes the manifest of an image, and signs it.
func (o signing) sign(ctx context.Context, file string, std streams) error {
	var err error
	if o.output == "" {
		o.output = file + ".manifest"
	}
	if o.name == "" {
		o.name = strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	}
	if o.ref == "" {
		if o.ref, err = pathBeside(o.output, file); err != nil {
			return err
		}
	}
	m := manifest.Manifest{Name: o.name, Created: time.Now().UTC().Truncate(time.Second), Init: o.init}
	if err := o.second(&m); err != nil {
		return err
	}
	err = working(std.err, "reading "+file, time.Second, func() error {
		image, err := describeImage(ctx, file, o.ref)
		if err != nil {
			return err
		}
		m.Images = []manifest.Image{image}
		return checkInit(ctx, file, o.init)
	})
	if err != nil {
		return err
	}
	body, err := m.Marshal()
	if err != nil {
		return err
	}
	signatures, ids, err := signBy(ctx, o.keys, o.password, std, body, fmt.Sprintf("%s of %s", o.name, m.Created.Format(time.RFC3339)))
	if err != nil {
		return err
	}
	if err := writeSigned(ctx, o.output, body, signatures); err != nil {
		return err
	}
	fmt.Fprintf(std.out, "%s: %s, %d bytes, %ssigned by %s\n", o.output, o.ref, m.Images[0].Size, serialOf(m.Serial), ids)
	return nil
}

// writeSigned writes what is signed, and its signatures. A machine that asks
// between the two renames refuses the pair, and asks again.
func writeSigned(ctx context.Context, name string, body, signatures []byte) error {
	var pair output.Set
	err := pair.Add(ctx, name, 0o644, output.Of(body))
	if err == nil {
		err = pair.Add(ctx, name+manifest.Suffix, 0o644, output.Of(signatures))
	}
	if err == nil {
		err = pair.Commit()
	}
	return errors.Join(err, pair.Close())
}

func serialOf(serial uint64) string {
	if serial == 0 {
		return ""
	}
	return fmt.Sprintf("serial %d, ", serial)
}

// second fills in what version 2 has besides.
func (o signing) second(m *manifest.Manifest) (err error) {
	switch {
	case o.format == manifest.Version1 && o.serial == 0 && o.notBefore == "" && o.notAfter == "" && len(o.cmdline) == 0:
		return nil
	case o.format != manifest.Version2:
		return usageError(fmt.Sprintf("--format %d: there are 1, which has neither serial nor days nor command line, and 2", o.format))
	}
	m.Type, m.Version, m.Serial, m.Cmdline = manifest.Type, manifest.Version2, o.serial, o.cmdline
	if m.Serial == 0 {
		m.Serial = uint64(m.Created.Unix())
	}
	if m.NotBefore, err = parseLimit("--not-before", o.notBefore); err != nil {
		return err
	}
	m.NotAfter, err = parseLimit("--not-after", o.notAfter)
	return err
}

// parseLimit reads a day or a time; "" is none.
func parseLimit(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := parseDay(text)
	if err != nil {
		return at, usageError(flag + " " + text + " is neither a day nor a time")
	}
	return at, nil
}

// addTo adds signatures to those of a manifest, or a key list.
func (o signing) addTo(ctx context.Context, file string, std streams) error {
	body, err := manifest.ReadFile(file, manifest.Most)
	if err != nil {
		return err
	}
	if _, err := manifest.Parse(body); err != nil {
		if _, _, lists := manifest.ParseKeyList(body); lists != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	before, err := manifest.ReadFile(file+manifest.Suffix, manifest.MostSignature)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	signatures, ids, err := signBy(ctx, o.keys, o.password, std, body, "added "+time.Now().UTC().Format(time.RFC3339))
	if err != nil {
		return err
	}
	if len(before) > 0 {
		before = append(bytes.TrimRight(before, "\n"), '\n')
	}
	if err := output.Text(ctx, file+manifest.Suffix, append(before, signatures...)); err != nil {
		return err
	}
	fmt.Fprintf(std.out, "%s: signed by %s, too\n", file, ids)
	return nil
}

// signBy signs by every key, and tells which they are.
func signBy(ctx context.Context, files []string, password string, std streams, body []byte, comment string) (signatures []byte, who string, err error) {
	var ids []string
	for _, file := range files {
		private, err := loadSecretKey(ctx, file, password, std)
		if err != nil {
			return nil, "", err
		}
		one, err := manifest.Sign(private, body, comment)
		if err != nil {
			return nil, "", err
		}
		signatures = append(signatures, one...)
		ids = append(ids, fmt.Sprintf("key %016X", private.ID()))
	}
	return signatures, strings.Join(ids, ", "), nil
}

// pathBeside is the reference that leads from a manifest to an image on the
// same server.
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

// checkInit refuses to sign an init that the image does not have: no machine
// would start it. What can't be looked into is signed as it is said.
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

// describeImage reads an image for what a manifest says of it. A tree that
// isn't the image's is an error: no machine would boot.
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
	if m.Size, err = io.Copy(hash, ctxio.Reader(ctx, i.File)); err != nil {
		return m, err
	}
	m.SHA256, m.RootHash = hash.Sum(nil), i.RootHash
	if info, err := os.Stat(file); err == nil && info.Size() != m.Size {
		return m, fmt.Errorf("%s changes while it is read", file)
	}
	return m, nil
}
