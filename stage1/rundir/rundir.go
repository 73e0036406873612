// Package rundir writes the files of /run/netstage that the shell, stage 2 and
// whoever looks at the machine read: whole, or not at all.
package rundir

import (
	"encoding/json"
	"os"
	"path/filepath"
)

// Replace replaces the file at path.
func Replace(path string, text []byte) error { return replace(path, text, 0o644) }

// ReplacePrivate replaces a file that may hold what not everybody may read.
func ReplacePrivate(path string, text []byte) error { return replace(path, text, 0o600) }

func replace(path string, text []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", text, mode); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// ReplaceJSON replaces it by v.
func ReplaceJSON(path string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return Replace(path, append(text, '\n'))
}
