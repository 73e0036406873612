package disks

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netstage/debug/sentence"
	"netstage/fetch/ref"
	"netstage/mount"
	"netstage/qemu-tests/namespaced"
	"netstage/stage1/config"
	"netstage/stage1/fault"
)

// By the name of a checker of file systems this program plays one.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "fsck.ext4" {
		fmt.Println("checked", os.Args[len(os.Args)-1])
		status := 0
		if text, err := os.ReadFile("/run/fsck"); err == nil {
			fmt.Sscan(string(text), &status)
		}
		os.Exit(status)
	}
	namespaced.Main(m, "/usr/lib", "/lib", "/lib64")
}

// drivers are loaded by nobody.
type drivers struct {
	asked []string
	fails string
}

func (d *drivers) Load(_ context.Context, modules ...string) error {
	d.asked = append(d.asked, modules...)
	if slices.Contains(modules, d.fails) {
		return fault.Errorf(fault.Module, "module %s: no", d.fails)
	}
	return nil
}

// machine has disks that are files: the kernel mounts none of them.
func machine(t *testing.T) (*Disks, *drivers, *bytes.Buffer) {
	namespaced.Need(t)
	for _, dir := range []string{"/sys", "/mnt-root", "/run"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	}
	log, asked := new(bytes.Buffer), new(drivers)
	return &Disks{Log: slog.New(sentence.NewHandler(slog.LevelInfo, sentence.To(log))), Drivers: asked}, asked, log
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// disk plugs one in; a kind is "ext4", "swap" or something else.
func disk(t *testing.T, name, kind, label string) {
	content := make([]byte, 128<<10)
	switch kind {
	case "ext4":
		copy(content[1024+0x38:], "\x53\xef")
		content[1024+0x60] = 0x40 // extents
		copy(content[1024+0x78:], label)
	case "swap":
		copy(content[4096-10:], "SWAPSPACE2")
		copy(content[1024+28:], label)
	}
	write(t, "/dev/"+name, string(content))
	t.Cleanup(func() { os.Remove("/dev/" + name) })
	write(t, "/sys/devices/"+name+"/size", fmt.Sprint(len(content)>>9))
	write(t, "/sys/devices/"+name+"/diskseq", "1")
	if err := os.MkdirAll("/sys/class/block", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/sys/devices/"+name, "/sys/class/block/"+name); err != nil {
		t.Fatal(err)
	}
}

func entries(t *testing.T, table string) []mount.Entry {
	t.Helper()
	all, err := mount.ParseTable(table)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// What is mounted below the new root, in order, and that what is in /etc comes
// after /etc.
func TestMount(t *testing.T) {
	d, asked, log := machine(t)
	p, err := d.Prepare(t.Context(), config.Config{FileSystems: entries(t, "tmpfs /var tmpfs mode=700\ntmpfs /etc/nixos tmpfs mode=711\ntmpfs /later tmpfs noauto\ntmpfs /etc tmpfs mode=755\n")})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"loop", "overlay", "squashfs", "fs-tmpfs"}; !slices.Equal(asked.asked[:4], want) {
		t.Errorf("loaded %q", asked.asked)
	}
	before, inside := p.AroundEtc()
	if len(before.entries) != 2 || len(inside.entries) != 1 || inside.entries[0].Target != "/etc/nixos" {
		t.Errorf("before %+v, inside %+v", before, inside)
	}
	for _, part := range []Prepared{before, inside} {
		if err := d.Mount(t.Context(), part); err != nil {
			t.Fatal(err)
		}
	}
	for dir, mode := range map[string]os.FileMode{"/var": 0o700, "/etc": 0o755, "/etc/nixos": 0o711} {
		if info, err := os.Stat("/mnt-root" + dir); err != nil || info.Mode().Perm() != mode || !mount.IsMountPoint("/mnt-root"+dir) {
			t.Errorf("%s: %v, %v", dir, info, err)
		}
		if !strings.Contains(log.String(), "disks: "+dir+" mounted (tmpfs)") {
			t.Errorf("not told of %s: %s", dir, log)
		}
	}
}

// What may fail is passed over; anything else, and a disk that is to be
// rebooted for, ends the step.
func TestWhatMayFail(t *testing.T) {
	for name, test := range map[string]struct {
		table, fails string
		class        fault.Class
		said         string
	}{
		"no driver":             {"LABEL=data /data ext4 defaults", "fs-ext4", fault.Module, ""},
		"no driver, and nofail": {"LABEL=data /data ext4 nofail", "fs-ext4", "", "/data is not mounted: module:"},
		"no disk":               {"LABEL=none /data ext4 x-systemd.device-timeout=1", "", fault.NoDevice, "waiting for the disk LABEL=none for /data"},
		"no disk, and nofail":   {"LABEL=none /data ext4 nofail,x-systemd.device-timeout=1", "", "", "/data is not mounted: no-device:"},
		"swap":                  {"LABEL=swap /data auto defaults", "", fault.Mount, ""},
		"nothing known":         {"/dev/vdc /data auto x-systemd.device-timeout=1", "", fault.NoDevice, ""},
		"no file system":        {"tmpfs /data tmpfs defaults", "loop", fault.Module, ""},
	} {
		t.Run(name, func(t *testing.T) {
			d, asked, log := machine(t)
			disk(t, "vda", "ext4", "data")
			disk(t, "vdb", "swap", "swap")
			disk(t, "vdc", "nothing", "")
			asked.fails = test.fails
			_, err := d.Prepare(t.Context(), config.Config{FileSystems: entries(t, test.table)})
			if fault.ClassOf(err) != test.class {
				t.Errorf("%v, want %q", err, test.class)
			}
			if !strings.Contains(log.String(), test.said) {
				t.Errorf("the log lacks %q: %s", test.said, log)
			}
		})
	}
}

// A file system is checked before it is mounted where the initrd has the
// program for it.
func TestCheck(t *testing.T) {
	for name, test := range map[string]struct {
		table  string
		status int // of the program; -1: there is none
		class  fault.Class
		said   []string
	}{
		"good":           {"LABEL=data /data ext4 defaults 0 2", 0, "", []string{"fsck: checked /dev/vda"}},
		"corrected":      {"LABEL=data /data ext4 defaults 0 2", 1, "", []string{"the errors of /dev/vda for /data were corrected"}},
		"uncorrected":    {"LABEL=data /data ext4 defaults 0 2", 4, fault.Fsck, nil},
		"nofail":         {"LABEL=data /data ext4 nofail 0 2", 4, "", []string{"/data is not mounted: fsck:"}},
		"to be rebooted": {"LABEL=data /data ext4 nofail 0 2", 2, fault.FsckReboot, nil},
		"no program":     {"LABEL=data /data ext4 defaults 0 2", -1, "", []string{"/data is not checked: the initrd has no fsck.ext4"}},
		"not wanted":     {"LABEL=data /data ext4 defaults 0 0", 4, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			d, _, log := machine(t)
			disk(t, "vda", "ext4", "data")
			if test.status >= 0 {
				write(t, "/run/fsck", fmt.Sprint(test.status))
				program, err := os.ReadFile("/init")
				if err != nil {
					t.Fatal(err)
				}
				write(t, "/sbin/fsck.ext4", string(program))
				if err := os.Chmod("/sbin/fsck.ext4", 0o755); err != nil {
					t.Fatal(err)
				}
				defer os.Remove("/sbin/fsck.ext4")
			}
			_, err := d.Prepare(t.Context(), config.Config{FileSystems: entries(t, test.table)})
			if fault.ClassOf(err) != test.class {
				t.Errorf("%v, want %q", err, test.class)
			}
			for _, want := range append(test.said, "vda") {
				if !strings.Contains(log.String(), want) {
					t.Errorf("the log lacks %q: %s", want, log)
				}
			}
		})
	}
}

// A root that persists is refused where nothing vouches for its disk, and
// replaces the tmpfs where it may.
func TestPersistence(t *testing.T) {
	d, _, _ := machine(t)
	disk(t, "vda", "ext4", "state")
	c := config.Config{Persistence: "LABEL=state", PersistenceOpt: "noatime", Vouching: true}
	if _, err := d.Prepare(t.Context(), c); fault.ClassOf(err) != fault.Policy {
		t.Error(err)
	}
	c.OwnPersistence = true
	p, err := d.Prepare(t.Context(), c)
	if err != nil || p.Written.Source != "/dev/vda" || p.Written.Type != "ext4" || !strings.Contains(p.Written.Options, "noatime") {
		t.Errorf("%+v, %v", p.Written, err)
	}
	if p, err = d.Prepare(t.Context(), config.Config{}); err != nil || p.Written != mount.Volatile {
		t.Errorf("%+v, %v", p.Written, err)
	}
}

// An image on a disk is found by the disk's name, and a disk without a file in
// the reference is the image.
func TestMedia(t *testing.T) {
	d, asked, log := machine(t)
	disk(t, "vda", "ext4", "media")
	disk(t, "vdb", "nothing", "")
	m := &Media{Disks: d, Link: true}
	defer os.Remove("/dev/root")
	path, err := m.Path(t.Context(), ref.Location{Kind: ref.Device, Tag: "LABEL", Value: "media", Raw: "LABEL=media"})
	if err != nil || path != "/dev/vda" {
		t.Errorf("%q, %v", path, err)
	}
	if to, err := os.Readlink("/dev/root"); err != nil || to != "/dev/vda" {
		t.Errorf("/dev/root: %q, %v", to, err)
	}
	if !strings.Contains(log.String(), "LABEL=media is on /dev/vda") {
		t.Errorf("%s", log)
	}
	// A file is no disk to mount: the kernel says so.
	if path, err := (&Media{Disks: d}).Path(t.Context(), ref.Location{Kind: ref.Device, Tag: "LABEL", Value: "media", Path: "/image"}); err == nil {
		t.Errorf("mounted: %q", path)
	}
	if !slices.Contains(asked.asked, "fs-ext4") {
		t.Errorf("loaded %q", asked.asked)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// findiso= looks at every disk that may have the file, and says what it saw.
func TestFindISO(t *testing.T) {
	d, _, _ := machine(t)
	disk(t, "vda", "ext4", "one")
	disk(t, "vdb", "ext4", "wanted")
	disk(t, "vdc", "swap", "swap")
	m := &Media{Disks: d, Wanted: []string{"LABEL=wanted", "nonsense"}}
	late := fmt.Errorf("too late")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Second, late)
	defer cancel()
	_, err := m.Path(ctx, ref.Location{Kind: ref.Device, Tag: config.ISOTag, Value: "/nixos.iso", Path: "/image"})
	if fault.ClassOf(err) != fault.NoDevice || !strings.Contains(err.Error(), "findiso=/nixos.iso: too late") {
		t.Errorf("%v", err)
	}
	if tried := fault.TriedOf(err); len(tried) != 1 || !strings.Contains(tried[0], "/dev/vda") {
		t.Errorf("tried %q", tried)
	}
}
