package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"netstage/cmd/netstage/image"
	"netstage/cmd/netstage/netboot"
	"netstage/cmd/netstage/vm"
)

const bootHelp = `Boots a machine in QEMU as it would boot from the network: the iPXE ROM of its
network card gets an address, then script, kernel, initrd and image over HTTP
from a server that runs as long as the machine. Nothing of the host is changed.

The serial console is on the terminal. Ctrl-A X switches the machine off,
Ctrl-A C leads to QEMU's monitor and back, Ctrl-A Ctrl-A types a Ctrl-A.

The kernel gets console=ttyS0 panic=-1 init= rootfs= rootfs.base= BOOTIF=, and
rootfs.roothash= or rootfs.sha256= where IMAGE.verity with IMAGE.roothash, or
IMAGE.sha256, lie beside the image; then what --append says. Arguments after --
are QEMU's.

With --forward 2222:22 a machine that boots with boot.ssh is reached by
"ssh -p 2222 root@127.0.0.1".

Exits 0 when the machine switched itself off, and 1 when it rebooted, panicked
or took too long; then the QEMU command is printed.

examples:
  netstage boot --kernel bzImage --initrd initrd.zst --image nix-store.squashfs \
      --init /nix/store/…-nixos-system-demo/init
  netstage boot --kernel bzImage --initrd initrd.zst --root debian/ --init /sbin/init
  netstage boot --kernel bzImage --initrd initrd.zst --initrd store.cpio --uefi
  netstage boot --dir /srv/boot --nic e1000 --nic virtio-net-pci --append boot.debug1
  netstage boot --efi boot.efi --secure-boot --dir /srv/boot
  netstage boot --kernel bzImage --initrd initrd.zst --direct -- -device virtio-rng-pci`

func newBoot(std streams) *cobra.Command {
	fs := newFlags()
	var c vm.Config
	var initrds, nics, drives list
	fs.StringVar(&c.Kernel, "kernel", "", "the kernel `FILE`")
	fs.Var(&initrds, "initrd", "an initrd `FILE`; may be repeated")
	fs.StringVar(&c.Image, "image", "", "the system image `FILE`, fetched by the machine")
	root := fs.String("root", "", "pack the root file system `DIR` and use that as the image")
	fs.StringVar(&c.Dir, "dir", "", "serve `DIR` as netstage serve does; what it holds is booted without --kernel")
	fs.StringVar(&c.BootURL, "url", "", "boot from this `URL` of another server; this host is 10.0.2.2")
	fs.StringVar(&c.Init, "init", "", "stage 2: a `PATH` in the image")
	fs.StringVar(&c.Append, "append", "", "more kernel `PARAMETERS`")
	fs.BoolVar(&c.Plain, "plain", false, "give the kernel no parameters but those of --append")
	fs.BoolVar(&c.Unverified, "unverified", false, "leave rootfs.roothash= and rootfs.sha256= out")
	fs.IntVar(&c.Memory, "memory", 2048, "memory of the machine in `MIB`")
	fs.IntVar(&c.CPUs, "cpus", 1, "`NUMBER` of processors")
	fs.Var(&nics, "nic", "a network card `MODEL`, such as e1000; may be repeated (default virtio-net-pci)")
	fs.Var(&drives, "drive", "a disk: the `VALUE` of QEMU's -drive; may be repeated")
	fs.BoolVar(&c.Direct, "direct", false, "let QEMU load kernel and initrd, without iPXE")
	fs.BoolVar(&c.UEFI, "uefi", false, "boot with UEFI instead of BIOS")
	fs.StringVar(&c.EFI, "efi", "", "start the UEFI program `FILE`, such as one of netstage uki, from an EFI system partition")
	fs.BoolVar(&c.SecureBoot, "secure-boot", false, "boot with UEFI that starts only what the snakeoil key of the package ovmf signed")
	fs.Func("forward", "the TCP port HERE of 127.0.0.1 leads to the machine's port THERE: `HERE:THERE`; may be repeated", func(word string) error {
		f, err := parseForward(word)
		c.Forwards = append(c.Forwards, f)
		return err
	})
	rate := fs.String("rate", "", "serve no faster than so many `BYTES` a second, such as 5M")
	timeout := fs.Duration("timeout", 0, "give up after this `DURATION`; 0 means never")
	var command *cobra.Command
	command = newCommand("netstage boot --kernel FILE --initrd FILE… [--image FILE] [FLAGS] [-- QEMU ARGUMENTS]", "boot a machine in QEMU, through iPXE", bootHelp, fs,
		func(ctx context.Context, args []string) error {
			stray := args
			if dash := command.ArgsLenAtDash(); dash >= 0 {
				stray, c.ExtraArgs = args[:dash], args[dash:]
			}
			c.Initrds, c.Drives = initrds, drives
			for _, model := range nics {
				c.NICs = append(c.NICs, vm.NIC{Model: model})
			}
			switch {
			case len(stray) > 0:
				return noOperands(stray)
			case c.Kernel == "" && c.Dir == "" && c.BootURL == "" && c.EFI == "":
				return usageError("what to boot? Give --kernel FILE, --dir DIR, --efi FILE or --url URL")
			case c.EFI != "" && (c.Kernel != "" || c.Append != "" || c.Init != "" || c.Plain || c.Unverified):
				return usageError("the program of --efi has its own kernel and parameters: --kernel, --append, --init, --plain and --unverified don't go with it")
			case c.Kernel == "" && c.Direct:
				return usageError("--direct needs --kernel FILE")
			case c.Kernel == "" && (len(initrds) > 0 || c.Image != "" || *root != ""):
				return usageError("--initrd, --image and --root need --kernel FILE")
			case c.BootURL != "" && (c.Kernel != "" || c.Dir != "") && !c.Direct:
				return usageError("--url names another server: --kernel and --dir don't go with it")
			case c.BootURL != "" && !c.Direct && (c.Append != "" || c.Init != "" || c.Plain || c.Unverified):
				return usageError("the script at --url has the kernel's parameters: --append, --init, --plain and --unverified don't go with it")
			case c.Image != "" && *root != "":
				return usageError("one image: either --image or --root")
			case c.Memory < 64 || c.CPUs < 1 || *timeout < 0:
				return usageError("--memory, --cpus or --timeout is too small")
			}
			if *rate != "" {
				n, err := parseRate(*rate)
				if err != nil {
					return usageError(err.Error())
				}
				c.Wrap = func(h http.Handler) http.Handler { return netboot.Throttle(h, n) }
			}
			if *root != "" {
				packed, remove, err := packRoot(ctx, *root)
				if err != nil {
					return err
				}
				defer remove()
				c.Image = packed
			}
			if *timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, *timeout)
				defer cancel()
			}
			c.Log = newLog(std.err)
			return boot(ctx, c, std, *timeout)
		})
	return command
}

// parseRate reads a number of bytes a second.
func parseRate(word string) (int64, error) {
	n, err := parseBytes(word)
	if err != nil {
		return 0, fmt.Errorf("--rate %s: want bytes a second, such as 500k or 5M", word)
	}
	return n, nil
}

// parseBytes reads a number of bytes, with k, M, G or T for powers of a thousand.
func parseBytes(word string) (int64, error) {
	factor := int64(1)
	digits := word
	for unit, f := range map[string]int64{"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12} {
		if d, ok := strings.CutSuffix(word, unit); ok {
			digits, factor = d, f
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n <= 0 || n > math.MaxInt64/factor {
		return 0, errors.New("want a number of bytes, such as 500k, 5M or 20G")
	}
	return n * factor, nil
}

func parseForward(word string) (vm.Forward, error) {
	here, there, _ := strings.Cut(word, ":")
	from, err1 := strconv.ParseUint(here, 10, 16)
	to, err2 := strconv.ParseUint(there, 10, 16)
	if err1 != nil || err2 != nil || from == 0 || to == 0 {
		return vm.Forward{}, errors.New("want HERE:THERE, two ports")
	}
	return vm.Forward{Here: uint16(from), There: uint16(to)}, nil
}

// packRoot packs a root file system fast, into a temporary image.
func packRoot(ctx context.Context, root string) (path string, remove func(), err error) {
	dir, err := os.MkdirTemp("", "netstage-root-")
	if err != nil {
		return "", nil, err
	}
	path = filepath.Join(dir, "root.squashfs")
	_, err = image.Build(ctx, image.Options{Source: root, WholeRoot: true, Output: path,
		Compression: image.Compression{Algorithm: "zstd", Level: 1}})
	if err != nil {
		os.RemoveAll(dir)
		return "", nil, err
	}
	return path, func() { os.RemoveAll(dir) }, nil
}

// boot runs a machine with its console on the terminal.
func boot(ctx context.Context, c vm.Config, std streams, timeout time.Duration) error {
	c.Console = std.out
	restore, raw := rawTerminal(std.in)
	if raw {
		c.Input = std.in
		fmt.Fprint(std.err, "The machine's console is on this terminal. Ctrl-A X switches it off.\r\n")
	}
	end, command, err := runMachine(ctx, c)
	restore()
	if raw {
		fmt.Fprint(std.out, "\x1b[?7h") // break long lines again: SeaBIOS turns that off
	}
	switch {
	case command == "":
		return err // before there was a machine
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("the machine did not end within %v", timeout)
	case ctx.Err() != nil:
		return context.Canceled
	case err == nil && end == vm.PowerOff:
		return nil
	case err == nil && end == vm.Stopped && raw:
		err = errors.New("the machine was switched off from outside")
	case err == nil:
		err = fmt.Errorf("the machine did not switch itself off: %s", end)
	}
	fmt.Fprintf(std.err, "\n%s\n", command)
	return err
}

// runMachine runs a machine to its end; command is QEMU's.
func runMachine(ctx context.Context, c vm.Config) (end vm.End, command string, err error) {
	m, err := vm.Start(ctx, c)
	if err != nil {
		return "", "", err
	}
	defer m.Close()
	// Also when ctx ends: QEMU is then ended by it.
	end, err = m.Wait(context.WithoutCancel(ctx))
	return end, m.Command(), err
}

// rawTerminal passes every key on when in is a terminal that is ours to read
// from. The function returned undoes it.
func rawTerminal(in *os.File) (restore func(), raw bool) {
	nothing := func() {}
	if in == nil || !term.IsTerminal(int(in.Fd())) {
		return nothing, false
	}
	// In the background, changing the terminal would stop us.
	group, err := unix.IoctlGetInt(int(in.Fd()), unix.TIOCGPGRP)
	if err != nil || group != unix.Getpgrp() {
		return nothing, false
	}
	state, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nothing, false
	}
	return func() { term.Restore(int(in.Fd()), state) }, true
}
