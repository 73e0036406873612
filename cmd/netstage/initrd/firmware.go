package initrd

import (
	"errors"
	"fmt"
	"io/fs"
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
		return nil
	}
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("firmware: %w", err)
	}
	packed := map[string]bool{}
	add := func(who string, patterns []string) error {
		for _, pattern := range patterns {
			names, err := firmwareNames(dir, pattern)
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
				data, err := readFirmware(dir, name)
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

// firmwareSuffixes are the forms a firmware file comes in (kernel doc
// driver-api/firmware/request_firmware: FW_LOADER_COMPRESS).
var firmwareSuffixes = []string{"", ".xz", ".zst"}

// firmwareNames returns the files that a module's firmware entry means, without
// the suffix of a compression. A few drivers name a pattern.
func firmwareNames(dir, pattern string) ([]string, error) {
	if !filepath.IsLocal(pattern) {
		return nil, fmt.Errorf("%q points out of the firmware folder", pattern)
	}
	if !strings.ContainsAny(pattern, "*?[") {
		for _, s := range firmwareSuffixes {
			info, err := os.Stat(filepath.Join(dir, pattern+s))
			if err == nil && info.Mode().IsRegular() {
				return []string{path.Clean(pattern)}, nil
			}
		}
		return nil, nil
	}
	var names []string
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
			if info, err := os.Stat(f); err == nil && info.Mode().IsRegular() {
				names = append(names, strings.TrimSuffix(strings.TrimSuffix(filepath.ToSlash(rel), ".xz"), ".zst"))
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func readFirmware(dir, name string) ([]byte, error) {
	for _, s := range firmwareSuffixes {
		data, _, err := readMaybeCompressed(filepath.Join(dir, name+s))
		if !errors.Is(err, fs.ErrNotExist) {
			return data, err
		}
	}
	return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
}
