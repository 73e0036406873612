package vouch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"netstage/fetch"
	"netstage/fetch/ref"
	"netstage/fetch/verity"
	"netstage/fetch/vouch"
)

// An image on a disk, with the verity tree beside it: each of its blocks is
// verified before anybody sees the file.
func ExampleGet() {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "image")
	content := bytes.Repeat([]byte("block "), 4096)
	var tree bytes.Buffer
	root, err := verity.Build(bytes.NewReader(content), int64(len(content)), &tree, verity.Options{})
	if err := errors.Join(err, os.WriteFile(path, content, 0o600), os.WriteFile(path+".verity", tree.Bytes(), 0o600)); err != nil {
		panic(err)
	}

	image, err := vouch.Get(context.Background(), vouch.Order{
		Images:   []ref.Location{ref.FileAt(path)},
		RootHash: root,
		Fetch:    fetch.Request{Log: slog.New(slog.DiscardHandler)},
	})
	if err != nil {
		panic(err)
	}
	defer image.Close()
	fmt.Println(image.Size, "bytes, every block verified")
	// Output: 24576 bytes, every block verified
}
