package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"netstage/cmd/netstage/image"
	"netstage/cmd/netstage/initrd"
	"netstage/cmd/netstage/internal/output"
	"netstage/cmd/netstage/netboot"
	"netstage/fetch/manifest"
	"netstage/nix"
)

// systemFlags are those of "netstage image" about a NixOS system and what boots
// it.
type systemFlags struct {
	toplevel, store, closureInfo string
	init                         string // inside the image
	initrd                       string
	boot, allInOne, manifest     bool
}

func (s *systemFlags) flags(fs *pflag.FlagSet) {
	fs.StringVar(&s.toplevel, "toplevel", "", "pack the closure of the NixOS system at `PATH`")
	fs.StringVar(&s.store, "store", "", "the store paths are in `DIR`/nix/store, as for Nix's --store")
	fs.StringVar(&s.closureInfo, "closure-info", "", "pack the closure that closureInfo of nixpkgs wrote to `DIR`")
	fs.StringVar(&s.init, "init", "", "the `PATH` of stage 2 (default that of --toplevel)")
	fs.BoolVar(&s.manifest, "manifest", false, "write FILE.manifest too, to be signed by minisign -Sm")
	fs.BoolVar(&s.boot, "boot", false, "with --toplevel: put kernel, initrd, cmdline and scripts beside FILE")
	fs.BoolVar(&s.allInOne, "all-in-one", false, "make FILE an initrd with the image as /nix-store.squashfs at its end")
	fs.StringVar(&s.initrd, "initrd", "", "with --all-in-one: the initrd `FILE` that comes first")
}

// check completes what was asked for.
func (s *systemFlags) check() error {
	switch {
	case s.store != "" && s.toplevel == "" && s.closureInfo == "":
		return usageError("--store says where the paths of --toplevel or --closure-info are")
	case s.boot && s.toplevel == "":
		return usageError("--boot needs --toplevel: it has the kernel and its parameters")
	case s.boot && s.allInOne:
		return usageError("--boot has an image and an initrd, --all-in-one both in one file: which?")
	case s.allInOne && s.initrd == "" && s.toplevel == "":
		return usageError("--all-in-one needs --initrd FILE, or --toplevel to make one")
	case s.initrd != "" && !s.allInOne:
		return usageError("--initrd goes with --all-in-one")
	case s.manifest && s.allInOne:
		return usageError("--manifest is about an image that is fetched, --all-in-one has it in the initrd")
	}
	if s.store != "" {
		store, err := filepath.Abs(s.store)
		if err != nil {
			return err
		}
		s.store = store
	}
	if s.toplevel != "" {
		store := filepath.Join("/", s.store)
		var err error
		// A profile's links are followed: the store path itself is registered.
		if s.toplevel, err = nix.Resolve(store, s.toplevel); err != nil {
			return fmt.Errorf("no NixOS system: %w", err)
		}
		system, err := nix.Inspect(store, s.toplevel+"/init")
		if err != nil {
			return err
		}
		if system.Kind == nix.Plain {
			return fmt.Errorf("%s is no NixOS system: it has no nixos-version", s.toplevel)
		}
		if s.init == "" {
			s.init = s.toplevel + "/init"
		}
	}
	if s.manifest && s.init == "" {
		return usageError("--manifest needs --init PATH or --toplevel: what may be started?")
	}
	return nil
}

// closure is what to pack; nil for a folder.
func (s *systemFlags) closure(ctx context.Context) (*image.Closure, error) {
	var c image.Closure
	var err error
	switch {
	case s.toplevel != "":
		c, err = image.QueryClosure(ctx, s.store, s.toplevel)
	case s.closureInfo != "":
		c, err = image.ReadClosureInfo(s.store, s.closureInfo)
	default:
		return nil, nil
	}
	return &c, err
}

// finish makes what goes with the image at path; to is the file that was
// asked for.
func (s *systemFlags) finish(ctx context.Context, path, to string, report image.Report, say io.Writer) error {
	if s.init != "" {
		fmt.Fprintf(say, "init=%s\n", s.init)
	}
	if s.manifest {
		if err := writeManifest(ctx, to, s.init, report); err != nil {
			return err
		}
	}
	if s.allInOne {
		base := s.initrd
		if base == "" {
			base = filepath.Join(filepath.Dir(path), "initrd")
			if err := s.packInitrd(ctx, base, say); err != nil {
				return err
			}
		}
		const place = "/nix-store.squashfs"
		return initrd.Append(ctx, base, []initrd.File{{Source: path, Target: place}, {Source: path + ".verity", Target: place + ".verity"}}, to)
	}
	if s.boot {
		return s.writeBoot(ctx, filepath.Dir(to), say)
	}
	return nil
}

// writeBoot puts into dir what boots the image there.
func (s *systemFlags) writeBoot(ctx context.Context, dir string, say io.Writer) error {
	kernel, err := s.read("kernel")
	if err != nil {
		return err
	}
	params, err := s.read("kernel-params")
	if err != nil {
		return err
	}
	cmdline := strings.TrimSpace("init=" + s.init + " " + string(params))
	if err := output.Text(ctx, filepath.Join(dir, "bzImage"), kernel); err != nil {
		return err
	}
	if err := output.Text(ctx, filepath.Join(dir, "cmdline"), []byte(cmdline+"\n")); err != nil {
		return err
	}
	if err := s.packInitrd(ctx, filepath.Join(dir, "initrd.zst"), say); err != nil {
		return err
	}
	_, warnings, err := netboot.WriteScripts(ctx, dir, false)
	for _, warning := range warnings {
		fmt.Fprintf(say, "warning: %s\n", warning)
	}
	return err
}

// read reads a file of the toplevel, whose links are those of the system's
// store.
func (s *systemFlags) read(name string) ([]byte, error) {
	name, err := nix.Resolve(filepath.Join("/", s.store), s.toplevel+"/"+name)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join("/", s.store, name))
}

// packInitrd packs an initrd for the toplevel's kernel.
func (s *systemFlags) packInitrd(ctx context.Context, file string, say io.Writer) error {
	o := initrd.Options{}
	modules, err := nix.Resolve(filepath.Join("/", s.store), s.toplevel+"/kernel-modules/lib/modules")
	if err != nil {
		return err
	}
	found, err := filepath.Glob(filepath.Join("/", s.store, modules, "*"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("%s: want the modules of one kernel, found %d", modules, len(found))
	}
	o.KernelModules = found[0]
	if firmware, err := nix.Resolve(filepath.Join("/", s.store), s.toplevel+"/firmware"); err == nil {
		o.FirmwareDir = filepath.Join("/", s.store, firmware)
	}
	if o.Init, err = besides("stage1"); err != nil {
		return err
	}
	report, err := writeInitrd(ctx, o, file)
	if err == nil {
		describeInitrd(say, report)
	}
	return err
}

// writeManifest writes what "netstage sign" would sign. SOURCE_DATE_EPOCH, if
// set, is its date.
func writeManifest(ctx context.Context, file, init string, report image.Report) error {
	created := time.Now().UTC().Truncate(time.Second)
	if epoch, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		created = time.Unix(epoch, 0).UTC()
	}
	name := filepath.Base(file)
	m := manifest.Manifest{Name: strings.TrimSuffix(name, filepath.Ext(name)), Created: created, Init: init, Images: []manifest.Image{{
		Path: name, Size: report.Size, SHA256: report.SHA256[:], RootHash: report.RootHash,
	}}}
	body, err := m.Marshal()
	if err != nil {
		return err
	}
	return output.Text(ctx, file+".manifest", body)
}
