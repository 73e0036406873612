package netboot

import (
	"io/fs"
	"strings"
)

// machineFolder finds the folder of the machine with this MAC address.
func machineFolder(fsys fs.FS, mac string) (string, bool) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return "", false
	}
	for _, entry := range entries {
		if name, ok := normalMAC(entry.Name()); ok && name == mac {
			if info, err := fs.Stat(fsys, entry.Name()); err == nil && info.IsDir() {
				return entry.Name(), true
			}
		}
	}
	return "", false
}

// anyMachineFolder tells whether some machine has files of its own.
func anyMachineFolder(fsys fs.FS) bool {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return false
	}
	for _, entry := range entries {
		if mac, ok := normalMAC(entry.Name()); ok {
			if _, ok := machineFolder(fsys, mac); ok {
				return true
			}
		}
	}
	return false
}

// normalMAC returns a MAC address, written with dashes or colons, the way iPXE
// writes it: aa-bb-cc-dd-ee-ff.
func normalMAC(s string) (string, bool) {
	const length = len("aa-bb-cc-dd-ee-ff")
	if len(s) != length {
		return "", false
	}
	mac := []byte(strings.ToLower(s))
	for i, c := range mac {
		switch {
		case i%3 == 2:
			if c != '-' && c != ':' {
				return "", false
			}
			mac[i] = '-'
		case '0' <= c && c <= '9', 'a' <= c && c <= 'f':
		default:
			return "", false
		}
	}
	return string(mac), true
}

// ParseMAC reads a MAC address with dashes or colons, and writes it with
// dashes.
func ParseMAC(s string) (string, bool) { return normalMAC(s) }
