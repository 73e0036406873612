package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"netstage/cmd/netstage/internal/uki"
)

const ukiHelp = `Joins kernel, initrd and command line into one UEFI program, a unified kernel
image, by systemd's stub. Firmware starts it by itself: from an EFI system
partition, or over the network by UEFI HTTP Boot. With Secure Boot on, nothing
in it can be changed, and the stub takes no other command line.

The signature is sbsign's, now by --sign-key and --sign-cert, or later.

examples:
  netstage uki --kernel bzImage --initrd initrd.zst --cmdline "rootfs.manifest=http://SERVER/web.manifest console=ttyS0" -o boot.efi
  netstage uki --kernel bzImage --initrd initrd.zst --cmdline @cmdline --sign-key db.key --sign-cert db.pem -o boot.efi`

func newUKI(std streams) *cobra.Command {
	fs := newFlags()
	var o uki.Options
	var initrds list
	fs.StringVar(&o.Kernel, "kernel", "", "the kernel `FILE`")
	fs.Var(&initrds, "initrd", "an initrd `FILE`; may be repeated")
	fs.StringVar(&o.Cmdline, "cmdline", "", "the kernel's `PARAMETERS`; @FILE reads them from a file")
	fs.StringVar(&o.Stub, "stub", "", "systemd's stub `FILE` (default the one that is installed)")
	release := fs.String("os-release", "", "what the system is: an os-release `FILE`")
	fs.StringVar(&o.Uname, "uname", "", "the kernel's `RELEASE` (default what the kernel says)")
	fs.StringVar(&o.Key, "sign-key", "", "sign by the private key in `FILE`, PEM")
	fs.StringVar(&o.Cert, "sign-cert", "", "and the certificate in `FILE`, PEM")
	fs.StringVarP(&o.Output, "output", "o", "", "write to `FILE`")
	return newCommand("netstage uki --kernel FILE --initrd FILE… --cmdline PARAMETERS -o FILE [FLAGS]", "join kernel, initrd and command line into one UEFI program", ukiHelp, fs,
		func(ctx context.Context, args []string) error {
			if err := noOperands(args); err != nil {
				return err
			}
			switch {
			case o.Kernel == "":
				return usageError("which kernel? Give --kernel FILE")
			case len(initrds) == 0:
				return usageError("which initrd? Give --initrd FILE; netstage initrd makes one")
			case o.Output == "":
				return usageError("where to? Give -o FILE")
			}
			o.Initrds = initrds
			if file, ok := strings.CutPrefix(o.Cmdline, "@"); ok {
				text, err := os.ReadFile(file)
				if err != nil {
					return err
				}
				o.Cmdline = strings.Join(strings.Fields(string(text)), " ")
			}
			if *release != "" {
				text, err := os.ReadFile(*release)
				if err != nil {
					return err
				}
				o.OSRelease = string(text)
			}
			made, err := uki.Build(ctx, o)
			if err != nil {
				return err
			}
			signed := "not signed"
			if o.Key != "" {
				signed = "signed by " + o.Cert
			}
			fmt.Fprintf(std.out, "%s: Linux %s, %d MiB, %s\n", o.Output, made.Uname, made.Size>>20, signed)
			return nil
		})
}
