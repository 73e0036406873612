package initrd

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// addFirmware packs the firmware that modules name, and what is asked for
// besides. It is stored decompressed: the archive is compressed as a whole, and
// not every kernel reads .xz or .zst.
func addFirmware(a *archive, dir string, modules []*module, asked []string, r *Report) error {
	if dir == "" {
		if len(asked) > 0 {
			return fmt.Errorf("firmware %s: from which folder?", asked[0])
		}
		files := map[string]bool{}
		for _, m := range modules {
			if len(m.Firmware) > 0 {
				r.WithFirmware++
			}
			for _, name := range m.Firmware {
				files[name] = true
			}
		}
		r.UnpackedFiles = len(files)
		return nil
	}
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("firmware: %w", err)
	}
	// The kernel's order (drivers/base/firmware_loader/main.c: fw_path).
	dirs := []string{filepath.Join(dir, "updates", r.Version), filepath.Join(dir, "updates"), filepath.Join(dir, r.Version), dir}
	packed := map[string]bool{}
	add := func(who string, patterns []string) error {
		for _, pattern := range patterns {
			names, err := firmwareNames(dirs, pattern)
			if err != nil {
				return fmt.Errorf("firmware of %s: %w", who, err)
			}
			if len(names) == 0 {
				r.MissingFirmware = append(r.MissingFirmware, who+": "+pattern)
			}
			for _, name := range names {
				if packed[name] {
					continue
				}
				packed[name] = true
				data, err := readFirmware(dirs, name)
				if err != nil {
					return fmt.Errorf("firmware of %s: %w", who, err)
				}
				a.file(path.Join("lib/firmware", name), 0o644, data)
				r.Firmware = append(r.Firmware, name)
			}
		}
		return nil
	}
	for _, m := range modules {
		if err := add(m.Name, m.Firmware); err != nil {
			return err
		}
	}
	if err := add("--firmware-file", asked); err != nil {
		return err
	}
	slices.Sort(r.Firmware)
	slices.Sort(r.MissingFirmware)
	return nil
}

// firmwareSuffixes are the forms a firmware file comes in, in the order in
// which the kernel looks for each in all folders (_request_firmware).
var firmwareSuffixes = []string{"", ".zst", ".xz"}

// firmwareNames returns the files that a module's firmware entry means, without
// the suffix of a compression. A few drivers name a pattern.
func firmwareNames(dirs []string, pattern string) ([]string, error) {
	if !filepath.IsLocal(pattern) {
		return nil, fmt.Errorf("%q points out of the firmware folder", pattern)
	}
	if !strings.ContainsAny(pattern, "*?[") {
		if findFirmware(dirs, pattern) == "" {
			return nil, nil
		}
		return []string{path.Clean(pattern)}, nil
	}
	var names []string
	for _, dir := range dirs {
		for _, s := range firmwareSuffixes {
			found, err := filepath.Glob(filepath.Join(dir, pattern+s))
			if err != nil {
				return nil, err
			}
			for _, f := range found {
				rel, err := filepath.Rel(dir, f)
				if err != nil {
					return nil, err
				}
				if isRegular(f) {
					names = append(names, strings.TrimSuffix(strings.TrimSuffix(filepath.ToSlash(rel), ".xz"), ".zst"))
				}
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// findFirmware returns the file that the kernel would take; "" where there is
// none.
func findFirmware(dirs []string, name string) string {
	for _, s := range firmwareSuffixes {
		for _, dir := range dirs {
			if file := filepath.Join(dir, name+s); isRegular(file) {
				return file
			}
		}
	}
	return ""
}

func isRegular(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular()
}

func readFirmware(dirs []string, name string) ([]byte, error) {
	data, _, err := readMaybeCompressed(findFirmware(dirs, name))
	return data, err
}
