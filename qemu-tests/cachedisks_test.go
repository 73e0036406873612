package qemutests

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"netstage/fetch/kept"
)

// keptOn is a folder where that image was kept, or another one of its size.
func keptOn(t *testing.T, v vouched, another bool) string {
	t.Helper()
	dir, content := t.TempDir(), v.content
	if another {
		content = bytes.Repeat([]byte("another"), len(content)/7+1)[:len(content)]
	}
	disk, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	root, err := hex.DecodeString(v.root)
	if err != nil {
		t.Fatal(err)
	}
	err = kept.Keep(t.Context(), disk, kept.Image{
		Record: kept.Record{Name: "web", Kept: time.Now(), Seen: time.Now(), Size: int64(len(content)), TreeSize: int64(len(v.tree)), RootHash: root},
		File:   bytes.NewReader(content), Tree: bytes.NewReader(v.tree),
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Whatever a disk with earlier images is, the machine comes up, and says what
// became of it.
func TestCacheDisksOfAllKinds(t *testing.T) {
	needRoot(t)
	v := vouchOnce(t, classic())
	kept := func(t *testing.T, label string) string { return ext4(t, label, keptOn(t, v, false)) }
	number := 0
	for name, c := range map[string]struct {
		disk  func(t *testing.T, label string) []string
		shown []string
	}{
		"with the image":  {func(t *testing.T, l string) []string { return []string{kept(t, l)} }, []string{"MiB are in", "!left", "!boot failed"}},
		"of two machines": {func(t *testing.T, l string) []string { return []string{ext4(t, l, keptOn(t, v, true))} }, []string{"image: 0 of "}},
		"twice":           {func(t *testing.T, l string) []string { return []string{kept(t, l), kept(t, l)} }, []string{"; taking the first", "MiB are in"}},
		"with nothing":    {func(t *testing.T, l string) []string { return []string{ext4(t, l, t.TempDir())} }, []string{"!MiB are in"}},
		"swap":            {func(t *testing.T, l string) []string { return []string{blank(t, "mkswap", "-L", l)} }, []string{"is not used: ", "holds no file system but swap"}},
		"that is locked": {func(t *testing.T, l string) []string {
			return []string{blank(t, "sh", "-c", `echo secret | cryptsetup -q luksFormat --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --label "$0" "$1" -`, l)}
		}, []string{"is not used: ", "holds no file system but crypto_LUKS"}},
		"with an inode table of noise": {func(t *testing.T, l string) []string {
			disk := kept(t, l)
			f, err := os.OpenFile(disk, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt(bytes.Repeat([]byte("noise, and noise"), 1<<16), 64<<10); err != nil {
				t.Fatal(err)
			}
			return []string{disk}
		}, []string{"image: "}},
		"cut off": {func(t *testing.T, l string) []string {
			disk := kept(t, l)
			if err := os.Truncate(disk, 2<<20); err != nil {
				t.Fatal(err)
			}
			return []string{disk}
		}, []string{"is not used: "}},
		"with a journal to be replayed": {func(t *testing.T, l string) []string {
			disk := kept(t, l)
			run(t, "debugfs", "-w", "-R", "feature needs_recovery", disk)
			run(t, "debugfs", "-w", "-R", "set_super_value state 2", disk)
			return []string{disk}
		}, []string{"MiB are in"}},
	} {
		t.Run(name, func(t *testing.T) {
			number++
			l := label(fmt.Sprintf("kept%d", number))
			disks := c.disk(t, l)
			s := scenario{lan: mirrored(), cmdline: "rootfs={url} roothash={roothash} init={init} rootfs.cache.disk=LABEL=" + l, shown: c.shown}
			for _, disk := range disks {
				plug(t, disk)
			}
			s.play(t)
		})
	}
	t.Run("that is late", func(t *testing.T) {
		l := label("late")
		scenario{
			lan: mirrored(), cmdline: "rootfs={url} roothash={roothash} init={init} rootfs.cache.disk=LABEL=" + l,
			story: []step{shows("waiting for the disk LABEL=" + l), plugs(kept(t, l))}, shown: []string{"MiB are in"},
		}.play(t)
	})
}

// blank makes a disk of what a program writes to it.
func blank(t *testing.T, args ...string) string {
	t.Helper()
	disk := filepath.Join(t.TempDir(), "disk")
	writeFile(t, disk, "")
	if err := os.Truncate(disk, 32<<20); err != nil {
		t.Fatal(err)
	}
	run(t, append(args, disk)...)
	return disk
}
