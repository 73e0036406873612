package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"aead.dev/minisign"
)

// Suffix is what a signature's file name has after the manifest's.
const Suffix = ".minisig"

// Keys are the public keys that may vouch for a manifest.
type Keys []Key

// Key is a public key and the file it came from.
type Key struct {
	Name   string
	public minisign.PublicKey
}

// ParseKey reads a minisign public key: its two lines, or the second alone.
func ParseKey(name string, text []byte) (Key, error) {
	k := Key{Name: name}
	if err := k.public.UnmarshalText([]byte(strings.TrimSpace(string(text)))); err != nil {
		return k, fmt.Errorf("public key %s: %w", name, err)
	}
	return k, nil
}

// ID is the key's number as minisign prints it.
func (k Key) ID() string { return fmt.Sprintf("%016X", k.public.ID()) }

// LoadKeys reads every *.pub in dir of fsys. A missing directory holds no keys; one without any, and a file that is no
// key, is an error, since policy that can't be read must not become no policy.
func LoadKeys(fsys fs.FS, dir string) (Keys, error) {
	entries, err := fs.ReadDir(fsys, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("trusted keys: %w", err)
	}
	var keys Keys
	for _, e := range entries {
		if path.Ext(e.Name()) != ".pub" {
			continue
		}
		text, err := fs.ReadFile(fsys, path.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("trusted keys: %w", err)
		}
		k, err := ParseKey(e.Name(), text)
		if err != nil {
			return nil, fmt.Errorf("trusted keys: %w", err)
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("trusted keys: %s holds no *.pub", dir)
	}
	return keys, nil
}

// Verify returns the manifest if one of the keys signed exactly these bytes, and which one did.
func (keys Keys) Verify(body, signature []byte) (*Manifest, Key, error) {
	var s minisign.Signature
	if err := s.UnmarshalText(signature); err != nil {
		return nil, Key{}, refuse("signature", "its signature is malformed: %v", err)
	}
	var names []string
	known := false
	for _, k := range keys {
		names = append(names, k.Name)
		if k.public.ID() != s.KeyID {
			continue
		}
		known = true
		// Two keys may share an ID, which is no more than a hint.
		if minisign.Verify(k.public, body, signature) {
			m, err := Parse(body)
			return m, k, err
		}
	}
	if known {
		return nil, Key{}, refuse("signature", "signature of key %016X is wrong: it was changed after signing", s.KeyID)
	}
	trusted := "no key is trusted"
	if len(names) > 0 {
		trusted = "trusted are " + strings.Join(names, ", ")
	}
	return nil, Key{}, refuse("signature", "signed by unknown key %016X, %s", s.KeyID, trusted)
}

// Sign signs the bytes of a manifest, which must be a good one. The comment is signed too and shown by minisign.
func Sign(private minisign.PrivateKey, body []byte, comment string) ([]byte, error) {
	if _, err := Parse(body); err != nil {
		return nil, err
	}
	if strings.ContainsAny(comment, "\r\n") {
		return nil, errors.New("manifest: the comment of a signature is one line")
	}
	public := private.Public().(minisign.PublicKey)
	untrusted := fmt.Sprintf("signature of minisign key %016X", public.ID())
	return minisign.SignWithComments(private, body, comment, untrusted), nil
}
