package bench

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"netstage/cmd/netstage/image"
	"netstage/qemu-tests/system"
)

// Store paths of the payload. Files are packed in the order of their names,
// so that the last one lies at the end of an image.
const (
	bulk = "/nix/store/1bvk1bvk1bvk1bvk1bvk1bvk1bvk1bvk-bulk"
	last = "/nix/store/z1a5z1a5z1a5z1a5z1a5z1a5z1a5z1a5-last"
)

// stage2 is what every contender boots. Its first act is a mark in the
// kernel's log, its second a look at the memory; what it prints is for
// ParseSample. Free pages on the lists of the processor don't count as
// available: tens of megabytes, or none, as chance has it. zoneinfo has their
// number.
const stage2 = `echo "<7>bench: stage 2" >/dev/kmsg
sed -n 's/^MemTotal\|^MemAvailable\|^ *count/bench: &/p' /proc/meminfo /proc/zoneinfo
sed -n 's/.*\(rootfs.sha256=[0-9a-f]*\).*/bench: \1/p' /proc/cmdline
dmesg | grep -E 'Run /init|: bench: |] bench: |stage-1-init: ' | sed 's/^/bench: log: /'
[ ! -e /run/netstage/boot.json ] || sed 's/^/bench: report: /' /run/netstage/boot.json
`

// An Image is a store image of random bytes with a toplevel.
type Image struct {
	Path   string
	Size   int64
	SHA256 string // hex
}

// PackImage makes an image with about size random bytes, always the same ones,
// beside busybox and the stage 2 that tells the figures. With check its stage 2
// also tells the SHA-256 of a file of 8 MiB at the image's end; the digest is
// returned.
func PackImage(ctx context.Context, file string, size int64, check bool) (i Image, digest string, err error) {
	dir, err := os.MkdirTemp(filepath.Dir(file), "store-")
	if err != nil {
		return Image{}, "", err
	}
	defer os.RemoveAll(dir)

	script := stage2
	if check {
		script += "echo \"bench: last $(sha256sum <" + last + ")\"\n"
	}
	files, err := system.Store(system.Files{"init": system.Script(script + system.PowerOff), "nixos-version": "25.05"})
	if err != nil {
		return Image{}, "", err
	}
	if check {
		files[strings.TrimPrefix(system.Busybox, "/nix/store")+"/bin/sha256sum"] = "->busybox"
	}
	if err := files.Write(dir); err != nil {
		return Image{}, "", err
	}
	random := rand.NewChaCha8([32]byte{})
	if _, err := writeRandom(filepath.Join(dir, filepath.Base(bulk)), random, size); err != nil {
		return Image{}, "", err
	}
	if check {
		if digest, err = writeRandom(filepath.Join(dir, filepath.Base(last)), random, 8<<20); err != nil {
			return Image{}, "", err
		}
	}
	report, err := image.Build(ctx, image.Options{
		Source: dir, Output: file, Compression: image.Compression{Algorithm: "zstd", Level: 1},
	})
	if err != nil {
		return Image{}, "", err
	}
	// Without a root hash beside the image both sides are told its SHA-256.
	for _, suffix := range []string{".roothash", ".verity"} {
		if err := os.Remove(report.Path + suffix); err != nil {
			return Image{}, "", err
		}
	}
	return Image{report.Path, report.Size, hex.EncodeToString(report.SHA256[:])}, digest, nil
}

// writeRandom fills a file and returns its SHA-256 in hex.
func writeRandom(name string, random io.Reader, size int64) (string, error) {
	f, err := os.Create(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(f, hash), random, size); err != nil {
		return "", fmt.Errorf("write %s: %w", name, err)
	}
	return hex.EncodeToString(hash.Sum(nil)), f.Close()
}

// writeBulk fills a file with random bytes, always the same ones.
func writeBulk(name string, size int64) error {
	_, err := writeRandom(name, rand.NewChaCha8([32]byte{}), size)
	return err
}
