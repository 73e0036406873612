package bench

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"netstage/cmd/netstage/initrd"
)

//go:embed standin/init.sh
var standInInit string

//go:embed standin/lease.sh
var standInLease string

// A StandIn is an initrd that does what the replaced script does: busybox, a
// shell script and modules.
type StandIn struct {
	// Load are modules that the script loads, one modprobe each, in this order.
	Load []string
	// Carry are further modules in the initrd. All are there with what they
	// depend on, compressed as the kernel's package has them.
	Carry []string
	// Debian is the root of a Debian that udev and kmod are taken from; ""
	// for a stand-in with neither.
	Debian string
}

// Write packs the initrd into a file: zstd -19, the default of nixpkgs.
// Kernel is a folder with lib/modules/VERSION. It returns the number of
// modules in it.
func (s StandIn) Write(ctx context.Context, kernel, file string) (modules int, err error) {
	dir, err := os.MkdirTemp("", "netstage-bench-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	t := tree(dir)
	busybox, err := t.busybox()
	if err != nil {
		return 0, err
	}
	if modules, err = t.modules(ctx, kernel, append(slices.Clone(s.Load), s.Carry...)); err != nil {
		return 0, err
	}
	modprobe := busybox
	if s.Debian != "" {
		if err := t.udev(s.Debian); err != nil {
			return 0, fmt.Errorf("udev: %w", err)
		}
		modprobe = "/bin/kmod"
	} else if err := t.dropKmodIndexes(); err != nil {
		return 0, err
	}
	err = errors.Join(
		t.link("sbin/modprobe", modprobe),
		t.write("bin/lease", standInLease, 0o755),
		t.write("etc/modules", strings.Join(s.Load, "\n")+"\n", 0o644),
		t.write("init", standInInit, 0o755),
	)
	if err != nil {
		return 0, err
	}
	return modules, t.pack(ctx, file)
}

// A tree is a folder that becomes an initrd.
type tree string

// busybox puts a static busybox at /bin, with links for the script, and
// returns its path there.
func (t tree) busybox() (string, error) {
	const path = "/bin/busybox"
	if err := t.copy(path, path); err != nil {
		return "", fmt.Errorf("%w (Debian has it in busybox-static)", err)
	}
	for name := range strings.FieldsSeq("sh mount mkdir ln ip udhcpc wget sha256sum switch_root env reboot") {
		if err := t.link("bin/"+name, path); err != nil {
			return "", err
		}
	}
	return path, nil
}

// modules copies modules and all they depend on, and indexes them.
func (t tree) modules(ctx context.Context, kernel string, names []string) (int, error) {
	found, err := filepath.Glob(filepath.Join(kernel, "lib/modules/*"))
	if err != nil || len(found) != 1 {
		return 0, fmt.Errorf("%s: no kernel, or more than one: %v", kernel, found)
	}
	version := filepath.Base(found[0])
	dependencies, err := dependencies(ctx, kernel, version)
	if err != nil {
		return 0, err
	}
	wanted := map[string]bool{}
	for _, name := range names {
		paths, ok := dependencies[strings.ReplaceAll(name, "-", "_")]
		if !ok {
			return 0, fmt.Errorf("this kernel has no module %s", name)
		}
		for _, path := range paths {
			wanted[path] = true
		}
	}
	for path := range wanted {
		if err := t.copy(filepath.Join(found[0], path), filepath.Join("lib/modules", version, path)); err != nil {
			return 0, err
		}
	}
	_, err = output(exec.CommandContext(ctx, "depmod", "-b", string(t), version))
	return len(wanted), err
}

// dependencies lists for each module its file and those it depends on.
func dependencies(ctx context.Context, kernel, version string) (map[string][]string, error) {
	text, err := output(exec.CommandContext(ctx, "depmod", "-n", "-b", kernel, version))
	if err != nil {
		return nil, err
	}
	all := map[string][]string{}
	for line := range strings.Lines(text) {
		// Of all that depmod would write, only modules.dep has such lines.
		file, rest, ok := strings.Cut(line, ":")
		if !ok || !strings.HasPrefix(file, "kernel/") {
			continue
		}
		name, _, _ := strings.Cut(filepath.Base(file), ".")
		all[strings.ReplaceAll(name, "-", "_")] = append([]string{file}, strings.Fields(rest)...)
	}
	return all, nil
}

// dropKmodIndexes removes the indexes that only kmod reads.
func (t tree) dropKmodIndexes() error {
	files, err := filepath.Glob(filepath.Join(string(t), "lib/modules/*/*.bin"))
	for _, file := range files {
		err = errors.Join(err, os.Remove(file))
	}
	return err
}

func (t tree) pack(ctx context.Context, file string) error {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer out.Close()
	o := initrd.Options{Init: filepath.Join(string(t), "init"), Compression: initrd.ZstdSmall}
	entries, err := os.ReadDir(string(t))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Name() != "init" {
			o.Files = append(o.Files, initrd.File{Source: filepath.Join(string(t), entry.Name()), Target: "/" + entry.Name()})
		}
	}
	if _, err := initrd.Build(ctx, o, out); err != nil {
		return err
	}
	return out.Close()
}

func (t tree) write(name, text string, mode os.FileMode) error {
	file := filepath.Join(string(t), name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), mode)
}

func (t tree) link(name, target string) error {
	file := filepath.Join(string(t), name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.Symlink(target, file)
}

// copy puts a file of the host at name, with its mode.
func (t tree) copy(source, name string) error {
	in, err := os.Open(source)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	file := filepath.Join(string(t), name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, info.Mode().Perm())
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Close()
}

// output runs a command and returns what it prints.
func output(cmd *exec.Cmd) (string, error) {
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}
