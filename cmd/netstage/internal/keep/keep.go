// Package keep keeps the image that the running system was booted from on the
// disk that the boot was told of, for later boots.
package keep

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"netstage/cmd/netstage/internal/ctxio"
	"netstage/fetch/kept"
	"netstage/fetch/verity"
)

// ErrNothing is the error where the boot left nothing to be kept.
var ErrNothing = errors.New("nothing is to be kept: this boot had no rootfs.cache.disk=, or no server brought its image, or nothing vouched for it")

// ErrOnDemand is the error where the image never gets whole.
var ErrOnDemand = errors.New("nothing is to be kept: with rootfs.stream=demand the machine has no whole image")

// Options say what to keep, and where.
type Options struct {
	File  string // what the agent left: a kept.Order
	Image string // the device with the image; "": found by its size
	Dir   string // a folder to keep it in; "": the disk that the boot was told of
	Sys   string // default /sys
	// Stream tells how far an image is that was used while it came; no such
	// file: it was there whole.
	Stream string
	Log    func(string)
}

// Run keeps the image. It is verified once more before: what is kept is what
// was booted.
func Run(ctx context.Context, o Options) error {
	want, err := read(o.File)
	if err != nil {
		return err
	}
	if err := o.whole(ctx); err != nil {
		return err
	}
	// Beside what the agent left: a root that is read-only has no /tmp perhaps.
	work, err := os.MkdirTemp(filepath.Dir(o.File), "keep-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	source, tree, err := o.find(ctx, want, work)
	if err != nil {
		return err
	}
	defer source.Close()
	keep := kept.Image{Record: want.Image, File: source}
	if tree != nil {
		defer tree.Close()
		size, err := tree.Seek(0, io.SeekEnd)
		if err != nil {
			return err
		}
		keep.Tree, keep.TreeSize = tree, size
	} else {
		keep.RootHash = nil
	}
	dir := o.Dir
	if dir == "" {
		if dir, err = mountDisk(ctx, want.Disk, work); err != nil {
			return err
		}
		// Lazily: who else looks at it now does not keep it.
		defer exec.Command("umount", "-l", dir).Run()
	}
	disk, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer disk.Close()
	begun := time.Now()
	if err := kept.Keep(ctx, disk, keep); err != nil {
		return fmt.Errorf("%s: %w", want.Disk, err)
	}
	o.Log(fmt.Sprintf("kept %q, %d MiB, on %s in %.1f s", keep.Name, keep.Size>>20, want.Disk, time.Since(begun).Seconds()))
	return nil
}

func read(file string) (kept.Order, error) {
	var k kept.Order
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return k, ErrNothing
	}
	if err == nil {
		err = json.Unmarshal(text, &k)
	}
	if err != nil {
		return k, fmt.Errorf("%s: %w", file, err)
	}
	return k, nil
}

// whole waits until an image that is used while it comes is there: whoever read
// it before would have it fetched before what the system wants.
func (o Options) whole(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for told := false; ; told = true {
		text, err := os.ReadFile(o.Stream)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		var status struct{ State string }
		if err == nil {
			err = json.Unmarshal(text, &status)
		}
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", o.Stream, err)
		case status.State == "demand":
			return ErrOnDemand
		case status.State != "streaming":
			return nil
		case !told:
			o.Log("the image is still coming: it is kept when it is whole")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// find opens the device with the image. The tree is nil where the image has
// none.
func (o Options) find(ctx context.Context, want kept.Order, work string) (source, tree *os.File, err error) {
	devices := []string{o.Image}
	if o.Image == "" {
		devices = bySize(o.Sys, want.Image.Size)
	}
	var wrong []error
	for _, device := range devices {
		source, tree, err = verified(ctx, device, want, work)
		if err == nil {
			return source, tree, nil
		}
		wrong = append(wrong, err)
	}
	if len(wrong) == 0 {
		wrong = append(wrong, fmt.Errorf("no loop device and no device mapper's has its %d bytes", want.Image.Size))
	}
	return nil, nil, fmt.Errorf("the image that was booted is not found: %w", errors.Join(wrong...))
}

// bySize are the block devices that an image is mounted from, of that size.
func bySize(sys string, size int64) (devices []string) {
	for _, kind := range []string{"dm-*", "loop*"} {
		found, _ := filepath.Glob(filepath.Join(sys, "block", kind))
		for _, dir := range found {
			text, err := os.ReadFile(filepath.Join(dir, "size"))
			sectors, perr := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
			if err == nil && perr == nil && sectors == (size+511)/512 {
				devices = append(devices, "/dev/"+filepath.Base(dir))
			}
		}
	}
	return devices
}

// verified opens a device whose content is the image.
func verified(ctx context.Context, device string, want kept.Order, work string) (source, tree *os.File, err error) {
	source, err = os.Open(device)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			source.Close()
		}
	}()
	content := ctxio.Reader(ctx, io.NewSectionReader(source, 0, want.Image.Size))
	if want.Image.RootHash == nil {
		sum := sha256.New()
		if _, err := io.Copy(sum, content); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", device, err)
		}
		if !bytes.Equal(sum.Sum(nil), want.Image.SHA256) {
			return nil, nil, fmt.Errorf("%s holds another image", device)
		}
		return source, nil, nil
	}
	salt, err := hex.DecodeString(want.Salt)
	if err != nil {
		return nil, nil, fmt.Errorf("the salt of the verity tree: %w", err)
	}
	if tree, err = os.CreateTemp(work, "tree-"); err != nil {
		return nil, nil, err
	}
	root, err := verity.Build(content, want.Image.Size, tree, verity.Options{Salt: salt})
	if err == nil && !bytes.Equal(root, want.Image.RootHash) {
		err = errors.New("it holds another image")
	}
	if err != nil {
		tree.Close()
		return nil, nil, fmt.Errorf("%s: %w", device, err)
	}
	return source, tree, nil
}

// mountDisk mounts a disk below work. The mount program knows all its names. An
// ext4 that was made to panic the kernel on errors is not to: it is a cache.
// Others don't know that option, and are mounted without it.
func mountDisk(ctx context.Context, disk, work string) (string, error) {
	dir := filepath.Join(work, "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	var err error
	for _, options := range []string{"rw,nosuid,nodev,noexec,errors=remount-ro", "rw,nosuid,nodev,noexec"} {
		cmd := exec.CommandContext(ctx, "mount", "-o", options, "--", disk, dir)
		cmd.WaitDelay = 5 * time.Second
		var out []byte
		if out, err = cmd.CombinedOutput(); err == nil {
			return dir, nil
		}
		err = fmt.Errorf("mount %s: %w: %s", disk, err, strings.Join(strings.Fields(string(out)), " "))
	}
	return "", err
}
