package stage1

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"io"
	"os"

	"netstage/fetch"
	"netstage/mount"
)

// ImageError says that there is no image to boot, or that the one in the
// initrd is not the one asked for.
type ImageError struct {
	class string // "no-image" or "mismatch"
	text  string
}

func (e *ImageError) Error() string { return e.text }

// Class names the failure for operators.
func (e *ImageError) Class() string { return e.class }

// getImage finds the image in the initrd or fetches it, and verifies it.
func (b *Boot) getImage(ctx context.Context) error {
	if b.image != nil { // a retry
		b.image.Close()
		b.image = nil
	}
	if err := mount.Discard(imageDir); err != nil {
		return err
	}
	remote, local := b.references()
	if len(remote) == 0 && local == "" {
		return &ImageError{"no-image", "no rootfs= was given, and the initrd has no " + localImage}
	}
	if b.config.SHA256 == nil {
		b.Log.Warn("image: nothing vouches for it; give rootfs.sha256=")
	}
	if local != "" {
		return b.openLocal(ctx, local)
	}
	return b.fetchImage(ctx, remote)
}

// references sorts the references to the image: mirrors to fetch it from, or
// else a file of the initrd.
func (b *Boot) references() (remote []fetch.Ref, local string) {
	for _, ref := range b.config.Rootfs {
		switch ref.Kind {
		case fetch.KindURL, fetch.KindRelative:
			remote = append(remote, ref)
		case fetch.KindFile:
			local = ref.Path
		}
	}
	if len(b.config.Rootfs) == 0 {
		if _, err := os.Stat(localImage); err == nil {
			local = localImage
		}
	}
	return remote, local
}

// fetchImage streams the image into memory.
func (b *Boot) fetchImage(ctx context.Context, refs []fetch.Ref) error {
	lease := b.network.Lease()
	var urls []string
	for _, ref := range refs {
		text, err := fetch.ResolveRef(ref.Raw, b.base(lease))
		if err != nil {
			return err
		}
		urls = append(urls, text)
	}
	seed := fnv.New64a()
	seed.Write(lease.MAC)
	image, err := fetch.Get(ctx, fetch.Request{
		URLs: urls, SHA256: b.config.SHA256, Store: fetch.Memory(imageDir), UserAgent: "netstage/" + b.Version,
		Dial: b.network.Dialer().DialContext, Seed: seed.Sum64(), Log: b.Log,
		Progress: func(p fetch.Progress) { b.Status(p.String()) },
	})
	b.Status("")
	if err != nil {
		return err
	}
	b.image = image.File
	b.source = ReportImage{Source: fetch.Redacted(image.Source), Size: image.Size, SHA256: hex.EncodeToString(image.SHA256[:])}
	return nil
}

// openLocal opens an image that is part of the initrd.
func (b *Boot) openLocal(ctx context.Context, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return &ImageError{"no-image", fmt.Sprintf("rootfs=%s: %v", path, err)}
	}
	info, err := file.Stat()
	if err == nil {
		b.source = ReportImage{Source: path, Size: info.Size()}
		err = b.verifyLocal(ctx, file)
	}
	if err != nil {
		file.Close()
		return err
	}
	b.image = file
	b.Log.Info(fmt.Sprintf("image: %s of the initrd, %d MiB", path, b.source.Size>>20))
	return nil
}

func (b *Boot) verifyLocal(ctx context.Context, file *os.File) error {
	if b.config.SHA256 == nil {
		return nil
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, contextReader{ctx, file}); err != nil {
		return fmt.Errorf("verify %s: %w", file.Name(), err)
	}
	got := hash.Sum(nil)
	if !bytes.Equal(got, b.config.SHA256) {
		return &ImageError{"mismatch", fmt.Sprintf("%s has the SHA-256 %x, rootfs.sha256= says %x", file.Name(), got, b.config.SHA256)}
	}
	b.source.SHA256 = hex.EncodeToString(got)
	return nil
}

// contextReader ends a long read with its context.
type contextReader struct {
	ctx context.Context
	io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
