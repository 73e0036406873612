package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"netstage/cmd/netstage/initrd"
	"netstage/cmd/netstage/internal/output"
	"netstage/fetch/oci"
	"netstage/stage1/password"
)

const initrdHelp = `Packs an initrd: the stage1 agent as /init, the kernel modules that it needs with
all they depend on, their firmware, and further files. The same input gives
the same bytes. FILE is replaced when it is complete.

DIR is the lib/modules/VERSION folder of the kernel to be booted, with depmod's
files or without. Every NIC driver is packed by default. --module NAME packs
only the NIC drivers named; --module +NAME adds a module to what is packed
otherwise, --module ?NAME does if the kernel has it, --module -NAME leaves one
out. What mounts images is always packed, dm-verity only where the drivers are
not narrowed or by --module +dm_verity.

The agent mounts the file systems that /etc/netstage/fstab lists, as fstab(5) has
them, before stage 2. For them, and for images on disks, pack the drivers by
--disks and --filesystem TYPE, and by --program what checks them.

With a public key of "netstage keygen" in /etc/netstage/trusted.d, machines boot
only what "netstage sign" signed by it. https is trusted by the authorities in
/etc/netstage/ca.pem, or else in /etc/ssl/certs/ca-certificates.crt.

With the hash of a password, made by "netstage passwd", the shells of machines ask
for it (/etc/netstage/shell-password).

With --authorized-keys the shells are reached by ssh on machines that are booted
with boot.ssh. Whoever can fetch the initrd has the machines' host key: treat it
as one for the initrd alone.

examples:
  netstage initrd --kernel-modules /lib/modules/6.12.1 -o initrd.zst
  netstage initrd --kernel-modules … --module igb --module virtio_net -o initrd.zst
  netstage initrd --kernel-modules … --module +nvme --firmware /lib/firmware -o initrd.zst
  netstage initrd --kernel-modules … --file nix-store.squashfs:/nix-store.squashfs -o initrd.zst
  netstage initrd --kernel-modules … --disks --filesystem ext4 --program /sbin/e2fsck:/sbin/e2fsck \
    --file fstab:/etc/netstage/fstab -o initrd.zst
  netstage initrd --kernel-modules … --file ops.pub:/etc/netstage/trusted.d/ops.pub -o initrd.zst`

func newInitrd(std streams) *cobra.Command {
	fs := newFlags()
	var o initrd.Options
	var modules, files, programs, fileSystems list
	fs.StringVar(&o.KernelModules, "kernel-modules", "", "the kernel's lib/modules/VERSION folder `DIR`")
	fs.Var(&modules, "module", "pack the module `[+|?|-]NAME`; may be repeated")
	fs.StringVar(&o.FirmwareDir, "firmware", "", "a lib/firmware folder `DIR`; what the modules name is packed")
	fs.Var((*list)(&o.FirmwareFiles), "firmware-file", "pack `NAME` of --firmware, although no module asks for it; may be repeated")
	fs.Var((*list)(&o.Prepend), "prepend", "begin with the archive `FILE` of microcode or ACPI tables, uncompressed; may be repeated")
	fs.Var(&files, "file", "put a file or folder of this host into the initrd: `SRC:DST`; may be repeated")
	fs.Var(&programs, "program", "put a program with its libraries into the initrd: `SRC:DST`; may be repeated")
	fs.BoolVar(&o.Disks, "disks", false, "pack the drivers of disks")
	fs.Var(&fileSystems, "filesystem", "pack the driver of the file system `TYPE`; may be repeated")
	fs.StringVar(&o.Init, "init", "", "the agent `FILE` (default stage1 beside this program)")
	fs.StringVar(&o.Compression, "compression", initrd.Zstd, "`ALGORITHM`: zstd or none")
	shellPassword := fs.String("shell-password", "", "shells on consoles ask for the password with the hash in `FILE`, of netstage passwd")
	authorizedKeys := fs.String("authorized-keys", "", "boot.ssh lets in who has a key of `FILE`")
	hostKey := fs.String("ssh-host-key", "", "the machines' own key for ssh is in `FILE`, which is made where it does not exist (default a new one each time)")
	to := fs.StringP("output", "o", "", "write the initrd to `FILE`")
	return newCommand("netstage initrd --kernel-modules DIR -o FILE [FLAGS]", "pack agent, kernel modules and files into an initrd", initrdHelp, fs,
		func(ctx context.Context, args []string) error {
			if err := noOperands(args); err != nil {
				return err
			}
			switch {
			case *to == "":
				return usageError("where to? Give -o FILE")
			case o.KernelModules == "":
				return usageError("which kernel? Give --kernel-modules DIR")
			case o.Compression != initrd.Zstd && o.Compression != initrd.None:
				return usageError("--compression is zstd or none")
			}
			o.Modules, o.FileSystems = modules, fileSystems
			var err error
			if o.Files, err = places("--file", files); err != nil {
				return err
			}
			if o.Programs, err = places("--program", programs); err != nil {
				return err
			}
			if err := checkLogins(o.Files); err != nil {
				return err
			}
			if *shellPassword != "" {
				file, err := shellPasswordFile(*shellPassword)
				if err != nil {
					return err
				}
				o.Files = append(o.Files, file)
			}
			if *authorizedKeys != "" {
				temp, err := os.MkdirTemp("", "netstage-")
				if err != nil {
					return err
				}
				defer os.RemoveAll(temp)
				files, fingerprint, err := sshFiles(*authorizedKeys, *hostKey, temp)
				if err != nil {
					return err
				}
				o.Files = append(o.Files, files...)
				fmt.Fprintf(std.err, "the machines' host key for ssh: %s\n", fingerprint)
			} else if *hostKey != "" {
				return usageError("--ssh-host-key needs --authorized-keys")
			}
			if o.Init == "" {
				agent, err := besides("stage1")
				if err != nil {
					return err
				}
				o.Init = agent
			}
			var report initrd.Report
			err = working(std.err, "packing "+*to, time.Second, func() (err error) {
				report, err = writeInitrd(ctx, o, *to)
				return err
			})
			if err != nil {
				return err
			}
			describeInitrd(std.err, report)
			return nil
		})
}

// shellPasswordFile puts a hash where the agent looks for it, once it is one
// that the agent will understand.
func shellPasswordFile(file string) (initrd.File, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return initrd.File{}, err
	}
	if _, err := password.Parse(text); err != nil {
		return initrd.File{}, fmt.Errorf("the shell password %s: %w", file, err)
	}
	return initrd.File{Source: file, Target: "/etc/netstage/shell-password"}, nil
}

// registryFile is where the agent looks for logins for registries.
const registryFile = "/etc/netstage/registry.json"

// checkLogins refuses logins for registries that the agent will not understand:
// no machine would boot.
func checkLogins(files []initrd.File) error {
	for _, f := range files {
		if filepath.Clean(f.Target) != registryFile {
			continue
		}
		text, err := os.ReadFile(f.Source)
		if err != nil {
			return err
		}
		if _, err := oci.ParseCredentials(text); err != nil {
			return fmt.Errorf("logins for registries, %s: %w", f.Source, err)
		}
	}
	return nil
}

// places reads SRC:DST of a flag.
func places(flag string, words []string) ([]initrd.File, error) {
	var files []initrd.File
	for _, word := range words {
		source, target, found := strings.Cut(word, ":")
		if !found || source == "" || !filepath.IsAbs(target) {
			return nil, usageError(fmt.Sprintf("%s %s is not SRC:/DST", flag, word))
		}
		files = append(files, initrd.File{Source: source, Target: target})
	}
	return files, nil
}

// besides finds a file in the folder of this program.
func besides(name string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	file := filepath.Join(filepath.Dir(self), name)
	if _, err := os.Stat(file); err != nil {
		return "", fmt.Errorf("no agent beside this program: %w; build it, or give --init FILE", err)
	}
	return file, nil
}

// writeInitrd replaces the file by a new initrd, once that is complete.
func writeInitrd(ctx context.Context, o initrd.Options, file string) (report initrd.Report, err error) {
	err = output.Write(ctx, file, 0o644, func(w *output.Writer) error {
		buffer := bufio.NewWriterSize(w, 1<<20)
		report, err = initrd.Build(ctx, o, buffer)
		return cmp.Or(err, buffer.Flush())
	})
	return report, err
}

func describeInitrd(w io.Writer, r initrd.Report) {
	fmt.Fprintf(w, "%d modules of %s, %d firmware files: %.2f MiB (%.2f MiB unpacked) in %v\n",
		len(r.Modules), r.Version, len(r.Firmware), mib(r.Compressed), mib(r.Size), r.Took.Round(time.Millisecond))
	if r.WithFirmware > 0 {
		fmt.Fprintf(w, "no firmware is packed; %s of it, which %s may ask for, by --firmware DIR\n",
			count(r.UnpackedFiles, "file"), count(r.WithFirmware, "module"))
	}
	for _, foreign := range r.Foreign {
		fmt.Fprintf(w, "a module of another kernel, which this one takes if the versions of its symbols are the same: %s\n", foreign)
	}
	for _, missing := range r.MissingFirmware {
		fmt.Fprintf(w, "missing firmware: %s\n", missing)
	}
}

// mib converts bytes for people.
func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }
