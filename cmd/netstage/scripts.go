package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"netstage/cmd/netstage/netboot"
)

const scriptsHelp = `Writes scripts beside what they boot, for servers other than "netstage serve":

  boot.ipxe    for iPXE, from any web server
  refind.conf  a menu entry for rEFInd, with files on the EFI system partition
  kexec-boot   to be run on a machine that is up

DIR holds a kernel (bzImage or vmlinuz), initrd*, perhaps an image (*.squashfs,
*.erofs) with what vouches for it, and cmdline, the kernel's parameters, as for
"netstage serve". The kernel gets rootfs= and the image's root hash or digest
unless cmdline says otherwise. kexec-boot puts the image into the initrd.

With --imgverify boot.ipxe starts nothing that is not signed, by an iPXE that was
built with IMAGE_TRUST_CMD and a certificate to TRUST (https://ipxe.org/crypto). Sign
boot.ipxe as well, and have that iPXE verify it: one that somebody else wrote says
otherwise. docs/uki.md has the whole.

examples:
  netstage scripts boot/
  netstage scripts --imgverify boot/`

func newScripts(std streams) *cobra.Command {
	fs := newFlags()
	verify := fs.Bool("imgverify", false, "have iPXE verify kernel and initrd by their signatures, FILE.sig")
	return newCommand("netstage scripts DIR", "write boot scripts for iPXE, rEFInd and kexec", scriptsHelp, fs,
		func(ctx context.Context, dirs []string) error {
			var err error
			if len(dirs) != 1 {
				return usageError("which folder? Give one DIR")
			}
			names, warnings, err := netboot.WriteScripts(ctx, dirs[0], *verify)
			if err != nil {
				return err
			}
			for _, warning := range warnings {
				fmt.Fprintf(std.err, "warning: %s\n", warning)
			}
			for _, name := range names {
				fmt.Fprintln(std.out, name)
			}
			return nil
		})
}
