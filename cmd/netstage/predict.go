package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"netstage/cmd/netstage/internal/attest"
	"netstage/cmd/netstage/internal/ctxio"
	"netstage/cmd/netstage/internal/inspect"
	"netstage/cmd/netstage/internal/output"
	"netstage/cmd/netstage/internal/uki"
	"netstage/fetch/manifest"
	"netstage/nix"
	"netstage/stage1/measure"
)

const predictHelp = `Computes the PCRs of a machine's TPM after a boot, of the bank of SHA-256, from
what it boots: PCR 8, which the agent extends by the initrd's /etc/netstage, the
kernel command line (without BOOTIF= and SYSUUID=) and the manifest, root hash or
digest of the image with its init; with --uki also PCR 11, where systemd's stub
measures the parts of that file, and PCR 12, which stays empty as long as nobody
adds to its command line. What PCR 8 is before the image is known, of a boot that
fails until then, is told as "earlier".

"netstage serve --reports --expect FILE" holds boots against it.

examples:
  netstage predict --uki boot.efi --manifest web.manifest -o expected.json
  netstage predict --initrd initrd --cmdline "rootfs.manifest=web.manifest quiet" --manifest web.manifest`

func newPredict(std streams) *cobra.Command {
	fs := newFlags()
	var initrds list
	var sha, root, init string
	fs.Var(&initrds, "initrd", "the initrd `FILE`; may be repeated")
	line := fs.String("cmdline", "", "the kernel command line, `PARAMETERS`; @FILE reads them from a file")
	file := fs.String("uki", "", "the unified kernel image `FILE`, instead of the two")
	signed := fs.String("manifest", "", "the signed manifest `FILE`")
	givenVar(fs, &sha, "sha256", "without a manifest: the image's SHA-256 `DIGEST`")
	givenVar(fs, &root, "roothash", "without a manifest: the root `DIGEST` of the image's verity tree")
	givenVar(fs, &init, "init", "without a manifest: `PATH` of the init")
	to := fs.StringP("output", "o", "", "write to `FILE` (default standard output)")
	return newCommand("netstage predict (--uki FILE | --initrd FILE --cmdline PARAMETERS) [FLAGS]", "compute what a machine's TPM will have measured", predictHelp, fs,
		func(ctx context.Context, args []string) error {
			if err := noOperands(args); err != nil {
				return err
			}
			switch {
			case (*file == "") == (len(initrds) == 0):
				return usageError("what is booted? Give --uki FILE, or --initrd FILE with --cmdline")
			case *signed == "" && init == "":
				return usageError("which system? Give --manifest FILE, or --init PATH with --roothash or --sha256")
			case *signed != "" && (init != "" || sha != "" || root != ""):
				return usageError("--manifest says the rest: leave --init, --sha256 and --roothash out")
			}
			pcrs := map[int]string{}
			var policy, cmdline measure.Event
			var err error
			if *file != "" {
				policy, cmdline, err = predictUKI(ctx, *file, pcrs)
			} else {
				policy, cmdline, err = predictFiles(ctx, initrds, *line)
			}
			if err != nil {
				return err
			}
			image, err := predictImage(*signed, sha, root, init)
			if err != nil {
				return err
			}
			earlier := measure.Extended([32]byte{}, policy, cmdline)
			value := measure.Extended(earlier, image.Event())
			pcrs[measure.PCR] = hex.EncodeToString(value[:])
			text, err := attest.Encode(pcrs, map[int]string{measure.PCR: hex.EncodeToString(earlier[:])})
			if err != nil {
				return err
			}
			if *to != "" {
				return output.Text(ctx, *to, text)
			}
			_, err = std.out.Write(text)
			return err
		})
}

// predictUKI adds what the stub measures.
func predictUKI(ctx context.Context, name string, pcrs map[int]string) (policy, cmdline measure.Event, err error) {
	f, err := os.Open(name)
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	u, err := uki.Open(f)
	if err != nil {
		return "", "", fmt.Errorf("%s: %w", name, err)
	}
	eleven, err := u.PCR11()
	if err != nil {
		return "", "", fmt.Errorf("%s: %w", name, err)
	}
	if u.Stub > 0 {
		pcrs[11], pcrs[12] = hex.EncodeToString(eleven[:]), strings.Repeat("0", 64)
	}
	if policy, err = predictPolicy(ctx, u.Section(".initrd")); err != nil {
		return "", "", fmt.Errorf("%s: %w", name, err)
	}
	var line []byte
	if s := u.Section(".cmdline"); s != nil {
		if line, err = io.ReadAll(s); err != nil {
			return "", "", err
		}
	}
	return policy, measure.Cmdline(strings.TrimRight(string(line), "\x00\n")), nil
}

func predictFiles(ctx context.Context, initrds []string, line string) (policy, cmdline measure.Event, err error) {
	if file, ok := strings.CutPrefix(line, "@"); ok {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", "", err
		}
		line = strings.Join(strings.Fields(string(text)), " ")
	}
	var all []io.Reader
	for _, name := range initrds {
		f, err := os.Open(name)
		if err != nil {
			return "", "", err
		}
		defer f.Close()
		info, err := f.Stat()
		switch {
		case err != nil:
			return "", "", err
		case info.IsDir():
			return "", "", fmt.Errorf("%s is a folder, and no initrd", name)
		case len(initrds) == 1 && info.Mode().IsRegular():
			if policy, err = policyIn(f); err != nil {
				err = fmt.Errorf("%s: %w", name, err)
			}
			return policy, measure.Cmdline(line), err
		}
		all = append(all, f)
	}
	if policy, err = predictPolicy(ctx, io.MultiReader(all...)); err != nil {
		err = fmt.Errorf("%s: %w", strings.Join(initrds, ", "), err)
	}
	return policy, measure.Cmdline(line), err
}

// predictPolicy reads an initrd, which has to be a file.
func predictPolicy(ctx context.Context, initrd io.Reader) (measure.Event, error) {
	f, err := os.CreateTemp("", "netstage-predict-")
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := io.Copy(f, ctxio.Reader(ctx, initrd)); err != nil {
		return "", err
	}
	return policyIn(f)
}

// policyIn is what a TPM is told of the policy in an initrd.
func policyIn(f *os.File) (measure.Event, error) {
	i, err := inspect.ReadInitrd(f)
	if err != nil {
		return "", err
	}
	files, folder := map[string][]byte{}, "/"+measure.Folder
	for _, name := range i.Below(folder) {
		text, ok := i.Text(name)
		if !ok {
			return "", fmt.Errorf("%s of the initrd is no regular file, or too large", name)
		}
		files[strings.TrimPrefix(name, folder+"/")] = text
	}
	return measure.PolicyOf(files), nil
}

func predictImage(signed, sha, root, init string) (measure.Image, error) {
	if signed != "" {
		body, err := manifest.ReadFile(signed, manifest.Most)
		if err != nil {
			return measure.Image{}, err
		}
		m, err := manifest.Parse(body)
		if err != nil {
			return measure.Image{}, fmt.Errorf("%s: %w", signed, err)
		}
		digest := sha256.Sum256(body)
		return measure.Image{Manifest: digest[:], Init: m.Init}, nil
	}
	i := measure.Image{Init: init}
	var err error
	if sha != "" {
		if i.SHA256, err = nix.ParseSHA256(sha); err != nil {
			return i, usageError("--sha256: " + err.Error())
		}
	}
	if root != "" {
		if i.RootHash, err = nix.ParseSHA256(root); err != nil {
			return i, usageError("--roothash: " + err.Error())
		}
	}
	return i, nil
}
