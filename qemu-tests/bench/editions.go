package bench

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"netstage/cmd/netstage/image"
	"netstage/qemu-tests/system"
)

// An Edition is an image of Debian's packages, each in a store path of its own,
// with a system that boots to multi-user.
type Edition struct {
	image.Report
	Took time.Duration // to make it
}

// tellEdition is what the system does when it is up.
const tellEdition = `systemctl is-system-running --wait
echo "bench: initrd $(systemctl show -p InitRDTimestampMonotonic --value)"
echo "bench: userspace $(systemctl show -p UserspaceTimestampMonotonic --value)"
echo "bench: multi-user $(systemctl show -p ActiveEnterTimestampMonotonic --value multi-user.target)"
systemctl poweroff
`

// PackEdition packs the store paths of a folder with the Debian of another, as
// the tool does by default. The files of both are linked, and not written to.
func PackEdition(ctx context.Context, paths, debian, output string, format image.Format) (Edition, error) {
	dir, err := os.MkdirTemp(filepath.Dir(output), "store-")
	if err != nil {
		return Edition{}, err
	}
	defer os.RemoveAll(dir)
	if err := system.WriteDebian(debian, dir, string(format)); err != nil {
		return Edition{}, err
	}
	if out, err := exec.CommandContext(ctx, "cp", "-al", paths+"/.", dir).CombinedOutput(); err != nil {
		return Edition{}, fmt.Errorf("copy the store paths: %w: %s", err, out)
	}
	tree := filepath.Join(dir, system.DebianTree)
	for name, content := range map[string][]byte{
		"etc/systemd/system/tell.service": []byte(system.TellUnit), "etc/tell": []byte(tellEdition),
	} {
		if err := os.Remove(filepath.Join(tree, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return Edition{}, err
		}
		if err := os.WriteFile(filepath.Join(tree, name), content, 0o755); err != nil {
			return Edition{}, err
		}
	}
	begun := time.Now()
	report, err := image.Build(ctx, image.Options{Source: dir, Format: format, Series: "web", Output: output})
	return Edition{report, time.Since(begun)}, err
}

// changed is how many bytes of an image are in blocks of 4 KiB that the one
// before does not have anywhere.
func changed(before, after string) (int64, error) {
	had := map[[sha256.Size]byte]bool{}
	if err := eachBlock(before, func(sum [sha256.Size]byte, _ int) { had[sum] = true }); err != nil {
		return 0, err
	}
	n := int64(0)
	return n, eachBlock(after, func(sum [sha256.Size]byte, size int) {
		if !had[sum] {
			n += int64(size)
		}
	})
}

func eachBlock(name string, do func(sum [sha256.Size]byte, size int)) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, 4096)
	for {
		n, err := io.ReadFull(f, block)
		if n > 0 {
			do(sha256.Sum256(block[:n]), n)
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// An EditionBoot is what the boot of an edition took.
type EditionBoot struct {
	Stage2, MultiUser time.Duration // from /init on
}

var editionTimes = regexp.MustCompile(`bench: (initrd|userspace|multi-user) (\d+)`)

// ParseEdition reads the times of a console.
func ParseEdition(console string) (EditionBoot, error) {
	at := map[string]time.Duration{}
	for _, m := range editionTimes.FindAllStringSubmatch(console, -1) {
		µs, err := strconv.ParseInt(m[2], 10, 64)
		if err != nil {
			return EditionBoot{}, err
		}
		at[m[1]] = time.Duration(µs) * time.Microsecond
	}
	if len(at) != 3 || at["initrd"] == 0 || at["userspace"] < at["initrd"] || at["multi-user"] < at["userspace"] {
		return EditionBoot{}, fmt.Errorf("the console does not tell the times: %v", at)
	}
	return EditionBoot{Stage2: at["userspace"] - at["initrd"], MultiUser: at["multi-user"] - at["initrd"]}, nil
}
