// Package manifest reads and writes signed manifests: what a boot may fetch and run, so that the boot script never
// changes. The signature is minisign's, over the manifest's bytes as they are.
package manifest

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Most is the largest manifest that is read, in bytes.
const Most = 1 << 20

// ReadFile reads a file of at most that many bytes, and no more of one that
// has no end.
func ReadFile(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = refuse("manifest", "%s has more than the %d bytes that are read of it", name, most)
	}
	return text, err
}

// Manifest names a system: its images and its stage 2.
type Manifest struct {
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	// Init is the only init= that may be started, an absolute path inside the new root.
	Init string `json:"init"`
	// Images are what the system consists of; the first is mounted as its root, or its store.
	Images []Image `json:"images"`
}

// Image is one image. Path is a REF, relative to the manifest where it is no URL.
type Image struct {
	Path     string `json:"path"`
	Size     int64  `json:"size"`
	SHA256   Digest `json:"sha256"`
	RootHash Digest `json:"roothash,omitempty"` // of its dm-verity tree; empty: there is none
}

// Digest is 32 bytes, hex in JSON, or nil.
type Digest []byte

// MarshalText writes lower-case hex.
func (d Digest) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, d), nil }

// UnmarshalText reads hex of 32 bytes, or nothing.
func (d *Digest) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != 32 && len(b) != 0 {
		return fmt.Errorf("%q is no hex digest of 32 bytes", text)
	}
	if *d = b; len(b) == 0 {
		*d = nil
	}
	return nil
}

// Error is a manifest that is refused. Its class is manifest when it is malformed, signature when no trusted key
// signed it, policy when it doesn't allow what is asked for.
type Error struct {
	class, text string
}

func (e *Error) Error() string { return e.text }

// Class is manifest, signature or policy.
func (e *Error) Class() string { return e.class }

// Permanent is true: the same bytes are refused again.
func (e *Error) Permanent() bool { return true }

func refuse(class, format string, args ...any) *Error {
	return &Error{class, "manifest: " + fmt.Sprintf(format, args...)}
}

// Parse reads a manifest and checks that it is complete. It says nothing about who wrote it: see Keys.Verify. Unknown
// fields are left alone, so that newer tools can add to the format.
func Parse(b []byte) (*Manifest, error) {
	if len(b) > Most {
		return nil, refuse("manifest", "%d bytes, at most %d", len(b), Most)
	}
	var m Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, refuse("manifest", "%v", err)
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	return &m, nil
}

func (m *Manifest) check() error {
	switch {
	case !strings.HasPrefix(m.Init, "/") || strings.ContainsAny(m.Init, "\x00\n"):
		return refuse("manifest", "init %q is no absolute path", m.Init)
	case len(m.Images) == 0:
		return refuse("manifest", "it names no image")
	}
	seen := map[string]bool{}
	for _, i := range m.Images {
		switch {
		case i.Path == "":
			return refuse("manifest", "an image has no path")
		case seen[i.Path]:
			return refuse("manifest", "image %q is named twice", i.Path)
		case i.Size <= 0:
			return refuse("manifest", "image %q has size %d", i.Path, i.Size)
		case len(i.SHA256) != 32:
			return refuse("manifest", "image %q has no sha256", i.Path)
		case i.RootHash != nil && len(i.RootHash) != 32:
			return refuse("manifest", "image %q has a root hash of %d bytes", i.Path, len(i.RootHash))
		}
		seen[i.Path] = true
	}
	return nil
}

// Marshal writes a manifest as it is to be signed.
func (m *Manifest) Marshal() ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(m, "", "  ")
	return append(b, '\n'), err
}

// AllowInit refuses an init= that the manifest doesn't name; empty means none was asked for.
func (m *Manifest) AllowInit(init string) error {
	if init != "" && init != m.Init {
		return refuse("policy", "init=%s is not the one it names, %s", init, m.Init)
	}
	return nil
}

// NotBefore refuses a manifest older than one known before, which a replay would be.
func (m *Manifest) NotBefore(t time.Time) error {
	if m.Created.Before(t) {
		return refuse("policy", "created %s, before %s: an old one replayed?", m.Created.Format(time.RFC3339), t.Format(time.RFC3339))
	}
	return nil
}
