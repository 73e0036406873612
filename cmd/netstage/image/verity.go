package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"netstage/cmd/netstage/internal/ctxio"
	"netstage/fetch/verity"
)

// writeTree writes the dm-verity tree of the image at path to tree, as
// veritysetup would, and returns its root hash. The same image of a series has
// the same tree.
func writeTree(ctx context.Context, path, tree string, size int64, digest, salt [sha256.Size]byte) (root []byte, err error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the image back: %w", err)
	}
	defer in.Close()
	out, err := os.OpenFile(tree, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("write the verity tree: %w", err)
	}
	id := named(fmt.Sprintf("netstage verity tree of %x", digest))
	root, err = verity.Build(ctxio.Reader(ctx, in), size, out, verity.Options{Salt: salt[:], UUID: id})
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return nil, fmt.Errorf("write the verity tree: %w", err)
	}
	return root, nil
}

// ReadRootHash returns the root hash of the verity tree of the file at path, in
// lower-case hex, that path + ".roothash" holds. It is "" when there is no such
// file, or no tree at path + ".verity".
func ReadRootHash(path string) (string, error) {
	if _, err := os.Stat(path + ".verity"); os.IsNotExist(err) {
		return "", nil
	}
	text, err := os.ReadFile(path + ".roothash")
	if os.IsNotExist(err) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	root, err := ParseRootHash(text)
	if err != nil {
		return "", fmt.Errorf("%s.roothash %w", path, err)
	}
	return root, nil
}

// ParseRootHash returns the root hash in lower-case hex that the text of a
// ".roothash" file consists of.
func ParseRootHash(text []byte) (string, error) {
	root, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(root) != sha256.Size {
		return "", fmt.Errorf("is no root hash of %d hex digits", 2*sha256.Size)
	}
	return hex.EncodeToString(root), nil
}
