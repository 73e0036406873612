package bench

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// udev puts the udev and kmod of a Debian in, with the rules that nixpkgs'
// stage-1.nix chooses, and the libraries they need.
func (t tree) udev(debian string) error {
	for _, name := range []string{"/usr/bin/udevadm", "/usr/bin/kmod", "/usr/lib/udev/ata_id", "/usr/lib/udev/scsi_id", "/usr/lib/udev/cdrom_id"} {
		target := strings.TrimPrefix(name, "/usr")
		if err := t.program(debian, name, target); err != nil {
			return err
		}
	}
	for _, rules := range strings.Fields("60-cdrom_id 60-persistent-storage 75-net-description 80-drivers 80-net-setup-link") {
		if err := t.copy(filepath.Join(debian, "usr/lib/udev/rules.d", rules+".rules"), "etc/udev/rules.d/"+rules+".rules"); err != nil {
			return err
		}
	}
	return errors.Join(
		t.copy(filepath.Join(debian, "usr/lib/systemd/network/99-default.link"), "etc/systemd/network/99-default.link"),
		t.link("lib/systemd/systemd-udevd", "/bin/udevadm"),
	)
}

// program copies a program of the Debian and its libraries.
func (t tree) program(debian, name, target string) error {
	file := filepath.Join(debian, name)
	if err := t.copy(file, target); err != nil {
		return err
	}
	libraries := map[string]string{}
	if err := addLibraries(debian, file, libraries); err != nil {
		return err
	}
	for name, file := range libraries {
		dir := "lib/x86_64-linux-gnu/"
		if strings.HasPrefix(name, "ld-linux") {
			dir = "lib64/" // where programs name it
		}
		if err := t.copy(file, dir+name); err != nil {
			return err
		}
	}
	return nil
}

// addLibraries finds the libraries that an ELF file needs, directly or not.
func addLibraries(debian, file string, found map[string]string) error {
	f, err := elf.Open(file)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	defer f.Close()
	needed, err := f.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for _, name := range needed {
		if found[name] != "" {
			continue
		}
		path := ""
		for _, dir := range []string{"usr/lib/x86_64-linux-gnu", "usr/lib64"} {
			if p := filepath.Join(debian, dir, name); exists(p) {
				path = p
				break
			}
		}
		if path == "" {
			return fmt.Errorf("%s needs %s, which is not in %s", file, name, debian)
		}
		found[name] = path
		if err := addLibraries(debian, path, found); err != nil {
			return err
		}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
