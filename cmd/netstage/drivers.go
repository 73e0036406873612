package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"netstage/cmd/netstage/initrd"
	"netstage/cmd/netstage/internal/inspect"
)

const driversHelp = `Says which modules of a kernel drive the network cards of a machine, and whether an
initrd has them; then the lines of a NixOS configuration that have them packed, or
built into the kernel. The machine is this one, or what is named: a modalias, or
VENDOR:DEVICE; a FILE with what lspci -nn (-nnk, -n, -mmn, -vmmn), lsusb, ethtool
-i, inxi -Nxxx or udevadm info says, or of modaliases, a line each; the report of a
boot (/run/netstage/boot.json), which names the drivers of the cards that had one.
FILE - is standard input. On a machine that is up, this lists its hardware:

  cat /sys/bus/*/devices/*/modalias

With --initrd it fails where the initrd lacks a module, and says what to pack.

examples:
  netstage drivers
  netstage drivers --kernel-modules /lib/modules/6.12.1 --initrd initrd.zst hardware.txt
  netstage drivers --kernel-modules … 8086:15bc
  ssh web7 lspci -nn | netstage drivers --kernel-modules … -
  ssh web7 'cat /sys/bus/*/devices/*/modalias' | netstage drivers --kernel-modules … --initrd initrd.zst -`

func newDrivers(std streams) *cobra.Command {
	fs := newFlags()
	dir := fs.String("kernel-modules", "", "the kernel's lib/modules/VERSION folder `DIR` (default that of the kernel that runs here)")
	packed := fs.String("initrd", "", "tell whether the initrd `FILE` has them")
	all := fs.Bool("all", false, "show all hardware, not only network cards")
	sys := fs.String("sys", "/sys", "this machine's sysfs is at `DIR`")
	return newCommand("netstage drivers [MODALIAS|FILE]… [--kernel-modules DIR] [--initrd FILE]", "say which modules drive a machine's network cards", driversHelp, fs,
		func(ctx context.Context, words []string) error {
			var err error
			var in *inspect.Initrd
			if *packed != "" {
				if in, err = readInitrd(*packed); err != nil {
					return err
				}
			}
			if *dir == "" {
				if *dir, err = runningKernel(in); err != nil {
					return err
				}
			}
			kernel, err := initrd.OpenKernel(*dir)
			if err != nil {
				return err
			}
			devices, err := readHardware(words, *sys, std.in)
			if err != nil {
				return err
			}
			if len(devices) == 0 {
				return errors.New("no hardware is named there, nor a modalias")
			}
			return tellDrivers(ctx, std.out, kernel, in, devices, *all)
		})
}

func readInitrd(name string) (*inspect.Initrd, error) {
	file, begin, err := openStart(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if !inspect.IsInitrd(begin) {
		return nil, fmt.Errorf("%s is no initrd", name)
	}
	in, err := inspect.ReadInitrd(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return in, nil
}

// runningKernel is where the modules of the kernel are that runs, if the initrd
// is for it.
func runningKernel(in *inspect.Initrd) (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", err
	}
	release := unix.ByteSliceToString(u.Release[:])
	if in != nil && len(in.Kernels) > 0 && !slices.Contains(in.Kernels, release) {
		return "", usageError(fmt.Sprintf("the initrd is for %s, and here runs %s: give its --kernel-modules DIR", in.Kernels[0], release))
	}
	dir := "/lib/modules/" + release
	if _, err := os.Stat(dir); err != nil {
		return "", usageError(dir + " is not here: give --kernel-modules DIR")
	}
	return dir, nil
}

// tellDrivers writes a line for each device. Without all, those of network
// cards alone.
func tellDrivers(ctx context.Context, out io.Writer, kernel *initrd.Kernel, in *inspect.Initrd, devices []device, all bool) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	shown, without := 0, 0
	var lacking, wanted []string
	for _, d := range devices {
		var drivers []initrd.Driver
		for _, alias := range d.aliases() {
			var err error
			if drivers, err = kernel.Drivers(ctx, alias); err != nil {
				return err
			} else if len(drivers) > 0 {
				break
			}
		}
		network := d.network || slices.ContainsFunc(drivers, func(r initrd.Driver) bool { return r.Network })
		if !network && !d.named && !all {
			continue
		}
		shown++
		if len(drivers) == 0 {
			fmt.Fprintf(w, "%s\tno module drives it\n", d.name)
			if network || d.named {
				without++
			}
			continue
		}
		for _, r := range drivers {
			missing := missingIn(in, r)
			fmt.Fprintf(w, "%s\t%s\n", d.name, describeDriver(r, in, missing))
			if network || d.named {
				lacking = append(lacking, missing...)
				if !r.Builtin {
					wanted = append(wanted, r.Module)
				}
			}
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	slices.Sort(wanted)
	writeConfiguration(out, slices.Compact(wanted))
	slices.Sort(lacking)
	lacking = slices.Compact(lacking)
	switch {
	case shown == 0:
		return errors.New("no network card is among this hardware (--all shows the rest)")
	case len(lacking) > 0:
		return fmt.Errorf("the initrd lacks %s: pack --module +%s", strings.Join(lacking, ", "), strings.Join(lacking, " --module +"))
	case without > 0:
		return fmt.Errorf("%s that no module of this kernel drives (a built-in driver may)", count(without, "device"))
	}
	return nil
}

// missingIn returns the modules of a driver that an initrd has not.
func missingIn(in *inspect.Initrd, r initrd.Driver) []string {
	if in == nil || r.Builtin {
		return nil
	}
	return slices.DeleteFunc(append([]string{r.Module}, r.Needs...), func(name string) bool {
		return slices.Contains(in.Modules, name)
	})
}

func describeDriver(r initrd.Driver, in *inspect.Initrd, missing []string) string {
	switch {
	case r.Builtin && r.Module == "":
		return "built in"
	case r.Builtin:
		return r.Module + "\tbuilt in"
	}
	text := r.Module
	if len(r.Needs) > 0 {
		text += " (with " + strings.Join(r.Needs, ", ") + ")"
	}
	switch {
	case in == nil:
		return text
	case len(missing) == 0:
		return text + "\tpacked"
	}
	return text + "\tnot packed"
}
