package keep

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"netstage/fetch/kept"
	"netstage/fetch/verity"
)

// booted leaves what an agent leaves of an image, and the image in a file.
func booted(t *testing.T, content []byte, change func(*kept.Order)) Options {
	t.Helper()
	dir := t.TempDir()
	var tree bytes.Buffer
	root, err := verity.Build(bytes.NewReader(content), int64(len(content)), &tree, verity.Options{Salt: []byte("salt")})
	if err != nil {
		t.Fatal(err)
	}
	o := kept.Order{Disk: "LABEL=none", Salt: hex.EncodeToString([]byte("salt")), Source: "http://a/web"}
	o.Image = kept.Record{Version: 1, Name: "web", Kept: time.Now(), Seen: time.Now(), Size: int64(len(content)), RootHash: root, Manifest: []byte("{}"), Minisig: []byte("x")}
	if change != nil {
		change(&o)
	}
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	opts := Options{File: filepath.Join(dir, "keep.json"), Image: filepath.Join(dir, "image"), Dir: t.TempDir(), Sys: "/sys", Log: func(s string) { t.Log(s) }}
	t.Cleanup(func() {
		if left, _ := filepath.Glob(filepath.Join(dir, "keep-*")); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	})
	for path, b := range map[string][]byte{opts.File: text, opts.Image: append(content, make([]byte, 4096)...)} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return opts
}

func list(t *testing.T, dir string) []kept.Generation {
	t.Helper()
	disk, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { disk.Close() })
	list, wrong := kept.List(disk)
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	return list
}

// The image is kept with a tree that its root vouches for.
func TestKeep(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	o := booted(t, content, nil)
	if err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	all := list(t, o.Dir)
	if len(all) != 1 || all[0].Name != "web" || all[0].Size != int64(len(content)) || string(all[0].Manifest) != "{}" {
		t.Fatalf("%+v", all)
	}
	image, err := all[0].Image()
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	got := make([]byte, len(content))
	if _, err := image.ReadAt(got, 0); err != nil || !bytes.Equal(got, content) {
		t.Errorf("another image was kept: %v", err)
	}
	tree, err := all[0].Tree()
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if _, err := verity.Read(tree, all[0].RootHash); err != nil {
		t.Error(err)
	}
}

// An image that has a digest alone is kept as well.
func TestKeepByDigest(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<10)
	sum := sha256.Sum256(content)
	o := booted(t, content, func(o *kept.Order) { o.Image.RootHash, o.Salt, o.Image.SHA256 = nil, "", sum[:] })
	if err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if all := list(t, o.Dir); len(all) != 1 || all[0].TreeSize != 0 {
		t.Errorf("%+v", all)
	}
}

// An image that still comes is not read before it is whole, and one that comes
// on demand is not kept.
func TestKeepAfterTheStream(t *testing.T) {
	o := booted(t, bytes.Repeat([]byte("0123456789abcdef"), 1<<10), nil)
	o.Stream = filepath.Join(t.TempDir(), "stream.json")
	state := func(text string) {
		t.Helper()
		if err := os.WriteFile(o.Stream, []byte(`{"state":"`+text+`","bytes":5}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	state("demand")
	if err := Run(t.Context(), o); !errors.Is(err, ErrOnDemand) {
		t.Errorf("on demand: %v", err)
	}
	state("streaming")
	waits := make(chan struct{})
	o.Log = func(text string) {
		if strings.Contains(text, "still coming") {
			close(waits)
		}
	}
	done := make(chan error, 1)
	go func() { done <- Run(t.Context(), o) }()
	<-waits
	if all := list(t, o.Dir); len(all) != 0 {
		t.Errorf("kept before it was whole: %+v", all)
	}
	state("complete")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if all := list(t, o.Dir); len(all) != 1 {
		t.Errorf("%+v", all)
	}
}

func TestNotKept(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<10)
	for name, c := range map[string]struct {
		change func(*kept.Order)
		spoil  func(*Options) error
		says   string
	}{
		"another image":      {spoil: func(o *Options) error { return os.WriteFile(o.Image, make([]byte, 1<<15), 0o600) }, says: "it holds another image"},
		"a shorter image":    {spoil: func(o *Options) error { return os.Truncate(o.Image, 100) }, says: "the image that was booted is not found"},
		"another digest":     {change: func(o *kept.Order) { o.Image.RootHash, o.Image.SHA256 = nil, make([]byte, 32) }, says: "holds another image"},
		"no device":          {spoil: func(o *Options) error { o.Image, o.Sys = "", "/nowhere"; return nil }, says: "no loop device and no device mapper's has its 16384 bytes"},
		"no such disk":       {spoil: func(o *Options) error { o.Dir = ""; return nil }, says: "mount LABEL=none"},
		"no order":           {spoil: func(o *Options) error { return os.Remove(o.File) }, says: ErrNothing.Error()},
		"an order cut off":   {spoil: func(o *Options) error { return os.Truncate(o.File, 10) }, says: "unexpected end of JSON input"},
		"no room for it":     {spoil: func(o *Options) error { o.Dir = "/proc"; return nil }, says: "/proc"},
		"a salt that's none": {change: func(o *kept.Order) { o.Salt = "x" }, says: "the salt of the verity tree"},
	} {
		t.Run(name, func(t *testing.T) {
			o := booted(t, content, c.change)
			if c.spoil != nil {
				if err := c.spoil(&o); err != nil {
					t.Fatal(err)
				}
			}
			err := Run(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
			if name == "no order" && !errors.Is(err, ErrNothing) {
				t.Error("it is not told as nothing to be kept")
			}
		})
	}
}

// What docs/cache.md has the unit say of disks that are of no use.
func TestUselessDisks(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: mounts disks")
	}
	text, err := os.ReadFile("../../../../docs/cache.md")
	if err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB
	for name, c := range map[string]struct {
		make string // of $1; empty: there is none
		says string
	}{
		"none":                   {"", "exit status 1: "},
		"swap":                   {`truncate -s 16M "$1" && mkswap "$1"`, "exit status 32: "},
		"locked":                 {`truncate -s 32M "$1" && echo x | cryptsetup -q luksFormat --pbkdf pbkdf2 --pbkdf-force-iterations 1000 "$1" -`, "unknown filesystem type 'crypto_LUKS'"},
		"broken":                 {`truncate -s 64M "$1" && mkfs.ext4 -q "$1" && dd if=/dev/urandom of="$1" bs=1k seek=64 count=1000 conv=notrunc status=none`, "Structure needs cleaning"},
		"too small":              {`truncate -s 5M "$1" && mkfs.ext4 -q "$1"`, "the disk has no room for it"},
		"an ext4":                {`truncate -s 64M "$1" && mkfs.ext4 -q "$1"`, ""},
		"of another file system": {`truncate -s 320M "$1" && mkfs.xfs -q "$1"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			device := "LABEL=there-is-none"
			if c.make != "" {
				disk := filepath.Join(t.TempDir(), "disk")
				out, err := exec.Command("sh", "-c", c.make+` && losetup -f --show "$1"`, "sh", disk).Output()
				if err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				lines := strings.Fields(string(out))
				device = lines[len(lines)-1]
				t.Cleanup(func() { exec.Command("losetup", "-d", device).Run() })
			}
			o := booted(t, content, func(o *kept.Order) { o.Disk = device })
			o.Dir = ""
			err := Run(t.Context(), o)
			switch {
			case c.says == "" && err != nil:
				t.Error(err)
			case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), device) || !bytes.Contains(text, []byte(c.says))):
				t.Errorf("%v, want %q, as docs/cache.md has it", err, c.says)
			}
		})
	}
}
