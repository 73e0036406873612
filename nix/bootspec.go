package nix

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
)

// A Bootspec is what a toplevel tells of its start: of boot.json (RFC 125) what
// nixos-init reads (nixpkgs: pkgs/by-name/ni/nixos-init), and whether /etc may
// be written to, which the netstage module adds. Paths are those of the new
// root, and empty where there is nothing to do.
type Bootspec struct {
	NixosInit    bool     // the toplevel describes itself to nixos-init
	Firmware     string   // folder of firmware for stage 2
	Modprobe     string   // the program that the kernel loads modules by
	StoreOptions []string // with which /nix/store is mounted
	Env, Shell   string   // what /usr/bin/env and /bin/sh are
	EtcImage     string   // file system with the metadata of /etc
	EtcBasedir   string   // folder with the contents of its files
	EtcReadOnly  bool
}

// specSize is more than a boot.json with hundreds of specialisations has.
const specSize = 16 << 20

// ReadBootspec reads that of a toplevel inside the directory root. A toplevel
// without one has nothing to tell. Before 26.05 the parts of /etc are links in
// the toplevel.
func ReadBootspec(root, toplevel string) (Bootspec, error) {
	s := Bootspec{EtcImage: linked(root, toplevel, "etc-metadata-image"), EtcBasedir: linked(root, toplevel, "etc-basedir")}
	name, err := Resolve(root, toplevel+"/boot.json")
	if errors.Is(err, os.ErrNotExist) {
		return s, s.check()
	}
	if err != nil {
		return s, err
	}
	file, err := os.Open(filepath.Join(root, name))
	if err != nil {
		return s, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, specSize))
	if err != nil {
		return s, fmt.Errorf("read %s: %w", name, err)
	}
	if err := s.parse(text); err != nil {
		return s, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

func linked(root, toplevel, name string) string {
	if _, err := os.Lstat(filepath.Join(root, toplevel, name)); err != nil {
		return ""
	}
	return path.Join(toplevel, name)
}

func (s *Bootspec) parse(text []byte) error {
	var spec struct {
		Init *struct {
			Firmware     string   `json:"firmware"`
			Modprobe     string   `json:"modprobe_binary"`
			StoreOptions []string `json:"nix_store_mount_opts"`
			Env          string   `json:"env_binary"`
			Shell        string   `json:"sh_binary"`
			EtcImage     string   `json:"etc_metadata_image"`
			EtcBasedir   string   `json:"etc_basedir"`
		} `json:"org.nixos.nixos-init.v1"`
		Own struct {
			EtcMutable *bool `json:"etc_mutable"`
		} `json:"org.netstage.v1"`
	}
	if err := json.Unmarshal(text, &spec); err != nil {
		return err
	}
	if i := spec.Init; i != nil {
		s.NixosInit, s.Firmware, s.Modprobe, s.StoreOptions, s.Env, s.Shell = true, i.Firmware, i.Modprobe, i.StoreOptions, i.Env, i.Shell
		if i.EtcImage != "" || i.EtcBasedir != "" {
			s.EtcImage, s.EtcBasedir = i.EtcImage, i.EtcBasedir
		}
	}
	s.EtcReadOnly = spec.Own.EtcMutable != nil && !*spec.Own.EtcMutable
	return s.check()
}

func (s *Bootspec) check() error {
	for what, name := range map[string]string{
		"firmware": s.Firmware, "modprobe_binary": s.Modprobe, "env_binary": s.Env, "sh_binary": s.Shell, "etc_metadata_image": s.EtcImage, "etc_basedir": s.EtcBasedir,
	} {
		if name != "" && !path.IsAbs(name) {
			return fmt.Errorf("%s %q is no absolute path", what, name)
		}
	}
	if (s.EtcImage == "") != (s.EtcBasedir == "") {
		return fmt.Errorf("/etc has a metadata image %q and a base folder %q: one without the other makes none", s.EtcImage, s.EtcBasedir)
	}
	return nil
}
