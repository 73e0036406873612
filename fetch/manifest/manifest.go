// Package manifest reads and writes signed manifests: what a boot may fetch and
// run, so that the boot script never changes. The signature is minisign's, over
// the manifest's bytes as they are.
package manifest

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"netstage/stage1/fault"
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
		err = refuse(fault.Manifest, "%s has more than the %d bytes that are read of it", name, most)
	}
	return text, err
}

// The versions of the format. The second has what a replay, a mix-up and a
// stolen key are refused by.
const (
	Version1 = 1
	Version2 = 2
)

// Type is that of a manifest, so that no other document which the same key
// signed is taken for one.
const Type = "netstage-manifest"

// mostSerial is what every reader of JSON takes for a whole number.
const mostSerial = 1<<53 - 1

// Manifest names a system: its images and its stage 2.
type Manifest struct {
	Type    string `json:"type,omitempty"`    // of version 2
	Version int    `json:"version,omitempty"` // 0 is 1
	// Critical are fields that a reader must know, or refuse the manifest.
	Critical []string  `json:"critical,omitempty"`
	Name     string    `json:"name"`
	Created  time.Time `json:"created"`
	// Serial grows with every manifest of a name.
	Serial    uint64    `json:"serial,omitempty"`
	NotBefore time.Time `json:"not_before,omitzero"`
	NotAfter  time.Time `json:"not_after,omitzero"`
	// Init is the only init= that may be started, an absolute path inside the
	// new root.
	Init string `json:"init"`
	// Cmdline are patterns of parameters that the kernel command line may hold
	// besides what the initrd allows; nil: the initrd alone says.
	Cmdline []string `json:"cmdline,omitempty"`
	// Images are what the system consists of; the first is mounted as its root,
	// or its store.
	Images []Image `json:"images"`
}

// fields are those of a manifest that may be critical.
var fields = []string{"type", "version", "critical", "name", "created", "serial", "not_before", "not_after", "init", "cmdline", "images"}

// Image is one image. Path is a REF, relative to the manifest where it is no
// URL.
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

// refuse is why a manifest is: of class manifest when it is malformed,
// signature when no trusted key signed it, policy when it doesn't allow what is
// asked for.
func refuse(class fault.Class, format string, args ...any) *fault.Error {
	return fault.Errorf(class, "manifest: "+format, args...)
}

// Parse reads a manifest and checks that it is complete. It says nothing about
// who wrote it: see Keys.Verify. Unknown fields are left alone, so that newer
// tools can add to the format, unless they are critical.
func Parse(b []byte) (*Manifest, error) {
	if len(b) > Most {
		return nil, refuse(fault.Manifest, "%d bytes, at most %d", len(b), Most)
	}
	var m Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, refuse(fault.Manifest, "%v", err)
	}
	if m.Version == 0 {
		m.Version = Version1
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	return &m, nil
}

func (m *Manifest) check() error {
	if err := m.checkVersion(); err != nil {
		return err
	}
	switch {
	case !strings.HasPrefix(m.Init, "/") || strings.ContainsAny(m.Init, "\x00\n"):
		return refuse(fault.Manifest, "init %q is no absolute path", m.Init)
	case len(m.Images) == 0:
		return refuse(fault.Manifest, "it names no image")
	}
	seen := map[string]bool{}
	for _, i := range m.Images {
		switch {
		case i.Path == "":
			return refuse(fault.Manifest, "an image has no path")
		case seen[i.Path]:
			return refuse(fault.Manifest, "image %q is named twice", i.Path)
		case i.Size <= 0:
			return refuse(fault.Manifest, "image %q has size %d", i.Path, i.Size)
		case len(i.SHA256) != 32:
			return refuse(fault.Manifest, "image %q has no sha256", i.Path)
		case i.RootHash != nil && len(i.RootHash) != 32:
			return refuse(fault.Manifest, "image %q has a root hash of %d bytes", i.Path, len(i.RootHash))
		}
		seen[i.Path] = true
	}
	return nil
}

// checkVersion refuses what only a newer reader understands, and a version 2
// that lacks what it is for.
func (m *Manifest) checkVersion() error {
	for _, field := range m.Critical {
		if !slices.Contains(fields, field) {
			return refuse(fault.Manifest, "field %q is critical, and not known to this version: boot it by a newer initrd", field)
		}
	}
	switch {
	case m.Type != "" && m.Type != Type:
		return refuse(fault.Manifest, "it is of type %q, not a manifest", m.Type)
	case m.Version == 0 || m.Version == Version1:
		return nil
	case m.Version != Version2:
		return refuse(fault.Manifest, "version %d of the format: this version knows %d and %d", m.Version, Version1, Version2)
	case m.Type == "":
		return refuse(fault.Manifest, "version 2 without a type")
	case m.Name == "" || strings.ContainsFunc(m.Name, unicode.IsControl):
		return refuse(fault.Manifest, "version 2 with the name %q", m.Name)
	case m.Serial == 0 || m.Serial > mostSerial:
		return refuse(fault.Manifest, "version 2 with the serial %d: want 1 to %d", m.Serial, uint64(mostSerial))
	}
	return checkTimes(m.Created, m.NotBefore, m.NotAfter)
}

// checkTimes refuses times at which no clock can be.
func checkTimes(created, notBefore, notAfter time.Time) error {
	switch {
	case created.IsZero():
		return refuse(fault.Manifest, "it does not say when it was created")
	case !notAfter.IsZero() && (notAfter.Before(created) || notAfter.Before(notBefore)):
		return refuse(fault.Manifest, "it ends (not_after) before it begins")
	}
	return nil
}

// Marshal writes a manifest as it is to be signed.
func (m *Manifest) Marshal() ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	return indent(m)
}

// AllowInit refuses an init= that the manifest doesn't name; empty means none
// was asked for.
func (m *Manifest) AllowInit(init string) error {
	if init != "" && init != m.Init {
		return refuse(fault.Policy, "init=%s is not the one it names, %s", init, m.Init)
	}
	return nil
}

// indent writes a document as it is to be signed.
func indent(v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	return append(b, '\n'), err
}
