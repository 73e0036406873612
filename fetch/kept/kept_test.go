package kept

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func disk(t *testing.T) (string, *os.Root) {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return dir, root
}

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// image is one whose every byte is b.
func image(b byte, size int) Image {
	content, tree := bytes.Repeat([]byte{b}, size), bytes.Repeat([]byte{b + 1}, size/10)
	return Image{
		Record: Record{Name: string(rune(b)), Size: int64(size), TreeSize: int64(len(tree)), RootHash: bytes.Repeat([]byte{b}, 32),
			Kept: noon, Seen: noon, Manifest: []byte("{}"), Minisig: []byte("signed")},
		File: bytes.NewReader(content), Tree: bytes.NewReader(tree),
	}
}

func keep(t *testing.T, root *os.Root, i Image) {
	t.Helper()
	if err := Keep(t.Context(), root, i); err != nil {
		t.Fatal(err)
	}
}

// names are the generations that can be read whole, the latest first.
func names(t *testing.T, root *os.Root) string {
	t.Helper()
	list, wrong := List(root)
	var out []string
	for _, g := range list {
		f, err := g.Image()
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		tree, err := g.Tree()
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		content, err := io.ReadAll(f)
		if err != nil || len(bytes.Trim(content, g.Name)) > 0 {
			t.Errorf("%s: not its image: %v", g.Name, err)
		}
		f.Close()
		tree.Close()
		out = append(out, fmt.Sprintf("%s%d", g.Name, g.Serial))
	}
	for _, err := range wrong {
		out = append(out, strings.ReplaceAll(err.Error(), root.Name()+"/", ""))
	}
	return strings.Join(out, " ")
}

func TestTwoGenerations(t *testing.T) {
	_, root := disk(t)
	if got := names(t, root); got != "" {
		t.Errorf("an empty disk has %s", got)
	}
	for _, c := range []struct {
		b    byte
		want string
	}{
		{'a', "a1"}, {'b', "b2 a1"}, {'c', "c3 b2"},
		{'c', "c4 b2"}, // seen again
		{'b', "b5 c4"}, // rolled back
		{'d', "d6 b5"},
	} {
		keep(t, root, image(c.b, 5000))
		if got := names(t, root); got != c.want {
			t.Errorf("after %c: %s, want %s", c.b, got, c.want)
		}
	}
}

// The same image is not written again: only when it was seen changes.
func TestSeenAgain(t *testing.T) {
	dir, root := disk(t)
	keep(t, root, image('a', 5000))
	path := filepath.Join(dir, slots[0], imageFile)
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	again := image('a', 5000)
	again.Seen, again.Kept = noon.Add(48*time.Hour), noon.Add(48*time.Hour)
	keep(t, root, again)
	after, err := os.Stat(path)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("written again: %v", err)
	}
	list, _ := List(root)
	if len(list) != 1 || !list[0].Kept.Equal(noon) || list[0].Age(noon.Add(72*time.Hour)) != 24*time.Hour || list[0].Age(noon) != 0 {
		t.Errorf("%+v", list)
	}
	// One that lost bytes is.
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	keep(t, root, again)
	if got := names(t, root); got != "a3" {
		t.Error(got)
	}
}

// reader ends the writing at a byte: by an error, or by the end of the context.
type reader struct {
	io.ReaderAt
	at   int64
	then func() error
}

func (r reader) ReadAt(p []byte, at int64) (int, error) {
	if at+int64(len(p)) > r.at {
		if err := r.then(); err != nil {
			return 0, err
		}
	}
	return r.ReaderAt.ReadAt(p, at)
}

func TestInterrupted(t *testing.T) {
	for _, at := range []int64{0, 5 << 20, 9 << 20} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			dir, root := disk(t)
			keep(t, root, image('a', 5000))
			keep(t, root, image('b', 5000))
			for name, then := range map[string]func(cancel func()) error{
				"error":  func(func()) error { return errors.New("medium error") },
				"cancel": func(cancel func()) error { cancel(); return nil },
			} {
				ctx, cancel := context.WithCancel(t.Context())
				next := image('c', 13<<20)
				next.File = reader{next.File, at, func() error { return then(cancel) }}
				if err := Keep(ctx, root, next); err == nil {
					t.Errorf("%s: no error", name)
				}
				cancel()
				if got := names(t, root); got != "b2" {
					t.Errorf("%s: %s is left, want b2", name, got)
				}
			}
			entries, err := os.ReadDir(filepath.Join(dir, folder))
			if err != nil || len(entries) != 1 {
				t.Errorf("%v, %v", entries, err)
			}
			keep(t, root, image('d', 5000))
			if got := names(t, root); got != "d3 b2" {
				t.Error(got)
			}
		})
	}
}

// What a cut of the power can leave, and what others can do to the disk.
func TestOddDisks(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(dir string) error
		want  string
	}{
		"an image without a record": {func(dir string) error { return os.Remove(filepath.Join(dir, slots[1], recordFile)) }, "a1"},
		"a record that was not put in place": {func(dir string) error {
			return os.Rename(filepath.Join(dir, slots[1], recordFile), filepath.Join(dir, slots[1], recordFile+".new"))
		}, "a1"},
		"a record cut off": {func(dir string) error { return os.Truncate(filepath.Join(dir, slots[1], recordFile), 20) }, "a1 netstage-images/1/record.json: record of a kept image: unexpected end of JSON input"},
		"an image cut off": {func(dir string) error { return os.Truncate(filepath.Join(dir, slots[1], imageFile), 20) }, "a1 netstage-images/1/image has not the 5000 bytes that its record says"},
		"no tree":          {func(dir string) error { return os.Remove(filepath.Join(dir, slots[1], treeFile)) }, "a1 openat netstage-images/1/tree: no such file or directory"},
		"a record without end": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, slots[1], recordFile), make([]byte, recordMost+1), 0o600)
		}, "a1 netstage-images/1/record.json: more than 256 KiB"},
		"a pipe for a record": {func(dir string) error {
			path := filepath.Join(dir, slots[1], recordFile)
			return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600))
		}, "a1 netstage-images/1/record.json is no plain file"},
		"a link that leads away": {func(dir string) error {
			path := filepath.Join(dir, slots[1], imageFile)
			return errors.Join(os.Remove(path), os.Symlink("/dev/zero", path))
		}, "a1 openat netstage-images/1/image: path escapes from parent"},
		"a folder elsewhere": {func(dir string) error {
			return errors.Join(os.RemoveAll(filepath.Join(dir, folder)), os.Symlink("/etc", filepath.Join(dir, folder)))
		}, "openat netstage-images/0/record.json: path escapes from parent openat netstage-images/1/record.json: path escapes from parent"},
		"a file for the folder": {func(dir string) error {
			return errors.Join(os.RemoveAll(filepath.Join(dir, folder)), os.WriteFile(filepath.Join(dir, folder), nil, 0o600))
		}, "openat netstage-images/0/record.json: not a directory openat netstage-images/1/record.json: not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, root := disk(t)
			keep(t, root, image('a', 5000))
			keep(t, root, image('b', 5000))
			if err := c.spoil(dir); err != nil {
				t.Fatal(err)
			}
			if got := names(t, root); got != c.want {
				t.Errorf("%s\nwant %s", got, c.want)
			}
			outside, err := os.ReadDir("/etc")
			if err != nil {
				t.Fatal(err)
			}
			err = Keep(t.Context(), root, image('c', 5000))
			if after, _ := os.ReadDir("/etc"); len(after) != len(outside) {
				t.Error("something was written elsewhere")
			}
			if strings.Contains(name, "folder") {
				if err == nil {
					t.Error("written through what is no folder of the disk")
				}
			} else if err != nil || !strings.HasPrefix(names(t, root), "c") {
				t.Errorf("then %v, %s", err, names(t, root))
			}
		})
	}
}

// Whoever wrote to the disk does not keep a place of it for ever.
func TestOddSerials(t *testing.T) {
	for _, serial := range []uint64{0, lastSerial, lastSerial + 1, 1<<64 - 1} {
		dir, root := disk(t)
		keep(t, root, image('a', 5000))
		keep(t, root, image('b', 5000))
		path := filepath.Join(dir, slots[0], recordFile)
		text, err := os.ReadFile(path)
		if err == nil {
			text = bytes.Replace(text, []byte(`"serial":1,`), fmt.Appendf(nil, `"serial":%d,`, serial), 1)
			err = os.WriteFile(path, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		keep(t, root, image('c', 5000))
		if got := names(t, root); got != "c3 b2" {
			t.Errorf("after the serial %d: %s", serial, got)
		}
	}
}

// A disk with room for one image keeps one, and one that has not room for it
// keeps what it has.
func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: mounts a small file system")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	keep(t, root, image('a', 1<<20))
	keep(t, root, image('b', 1<<20))
	if got := names(t, root); got != "b2 a1" {
		t.Error(got)
	}
	keep(t, root, image('c', 3<<20))
	if got := names(t, root); got != "c3" {
		t.Errorf("%s, want the one that there is room for", got)
	}
	if err := Keep(t.Context(), root, image('d', 5<<20)); !errors.Is(err, ErrNoRoom) {
		t.Error(err)
	}
	if got := names(t, root); got != "c3" {
		t.Errorf("%s after one that there is no room for", got)
	}
}

func FuzzParseRecord(f *testing.F) {
	text, err := json.Marshal(Record{Version: 1, Size: 1, SHA256: make([]byte, 32)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"version":1,"size":-1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := ParseRecord(text)
		if err == nil && (r.Size <= 0 || r.TreeSize < 0 || r.TreeSize > 0 != (len(r.RootHash) == 32)) {
			t.Errorf("%q gives %+v", text, r)
		}
	})
}
