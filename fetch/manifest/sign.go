package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"aead.dev/minisign"

	"netstage/stage1/fault"
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

// LoadKeys reads every *.pub in dir of fsys. A missing directory holds no keys;
// one without any, and a file that is no key, is an error, since policy that
// can't be read must not become no policy.
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

// Equal tells whether two are the same key, whatever their files are called.
func (k Key) Equal(other Key) bool { return k.public.Equal(other.public) }

// mostSignatures bounds what is verified of a file of signatures.
const mostSignatures = 16

// MostSignature is the largest file of signatures that is read, in bytes.
const MostSignature = 16 << 10

// Signers are the keys that signed exactly these bytes, at least so many
// different ones; fewer than one means one. A file of signatures is one
// minisign signature after the other; those of unknown keys are passed over.
func (keys Keys) Signers(body, signatures []byte, threshold int) (Keys, error) {
	threshold = max(threshold, 1)
	var signers Keys
	var unknown, wrong []string
	for _, block := range split(signatures) {
		var s minisign.Signature
		if err := s.UnmarshalText(block); err != nil {
			return nil, refuse(fault.Signature, "its signature is malformed: %v", err)
		}
		// Two keys may share an ID, which is no more than a hint.
		hinted, right := false, false
		for _, k := range keys {
			if k.public.ID() != s.KeyID {
				continue
			}
			hinted = true
			if right = minisign.Verify(k.public, body, block); right {
				if !slices.ContainsFunc(signers, k.Equal) {
					signers = append(signers, k)
				}
				break
			}
		}
		switch id := fmt.Sprintf("%016X", s.KeyID); {
		case !hinted:
			unknown = append(unknown, id)
		case !right:
			wrong = append(wrong, id)
		}
	}
	switch {
	case len(signers) >= threshold:
		return signers, nil
	case len(wrong) > 0:
		return nil, refuse(fault.Signature, "signature of key %s is wrong: it was changed after signing", wrong[0])
	case len(signers) > 0:
		return nil, refuse(fault.Signature, "signed by %s, and %d keys have to sign of %s", strings.Join(signers.Names(), ", "), threshold, strings.Join(keys.Names(), ", "))
	}
	trusted := "no key is trusted"
	if len(keys) > 0 {
		trusted = "trusted are " + strings.Join(keys.Names(), ", ")
	}
	return nil, refuse(fault.Signature, "signed by unknown key %s, %s", strings.Join(unknown, ", "), trusted)
}

// split splits a file of signatures, of four lines each. One that is cut off is
// left to be found malformed.
func split(signatures []byte) [][]byte {
	lines := bytes.SplitAfter(bytes.TrimRight(signatures, "\r\n"), []byte("\n"))
	var blocks [][]byte
	for block := range slices.Chunk(lines, 4) {
		if len(blocks) < mostSignatures {
			blocks = append(blocks, bytes.TrimRight(bytes.Join(block, nil), "\r\n"))
		}
	}
	return blocks
}

// Names are those of the keys' files.
func (keys Keys) Names() []string {
	var names []string
	for _, k := range keys {
		names = append(names, k.Name)
	}
	return names
}

// IDs are the keys' numbers.
func (keys Keys) IDs() []string {
	var ids []string
	for _, k := range keys {
		ids = append(ids, k.ID())
	}
	return ids
}

// Verify returns the manifest if enough of the keys signed exactly these bytes,
// and which ones did.
func (keys Keys) Verify(body, signatures []byte, threshold int) (*Manifest, Keys, error) {
	signers, err := keys.Signers(body, signatures, threshold)
	if err != nil {
		return nil, nil, err
	}
	m, err := Parse(body)
	return m, signers, err
}

// Sign signs the bytes of a document. The comment is signed too and shown by
// minisign.
func Sign(private minisign.PrivateKey, body []byte, comment string) ([]byte, error) {
	if strings.ContainsAny(comment, "\r\n") {
		return nil, errors.New("manifest: the comment of a signature is one line")
	}
	public := private.Public().(minisign.PublicKey)
	untrusted := fmt.Sprintf("signature of minisign key %016X", public.ID())
	return append(bytes.TrimRight(minisign.SignWithComments(private, body, comment, untrusted), "\n"), '\n'), nil
}
