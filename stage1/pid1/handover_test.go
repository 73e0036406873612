package pid1

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// newRoot mounts a root with an init, and with this program as its prepare.
func newRoot(t *testing.T) string {
	const root = "/mnt-root"
	must(t, os.MkdirAll(root, 0o755))
	must(t, unix.Mount("tmpfs", root, "tmpfs", 0, "mode=755"))
	t.Cleanup(func() { unix.Unmount(root, unix.MNT_DETACH) })
	program, err := os.ReadFile("/init")
	must(t, err)
	must(t, os.WriteFile(root+"/prepare", program, 0o755))
	must(t, os.WriteFile(root+"/init", []byte("no program\n"), 0o755))
	must(t, os.WriteFile(root+"/text", nil, 0o644))
	must(t, os.WriteFile(root+"/file", nil, 0o644))
	must(t, os.Mkdir(root+"/dir", 0o755))
	must(t, os.Symlink("/init", root+"/link"))
	must(t, os.Symlink("/nowhere", root+"/dangling"))
	return root
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// mountPoints are those of this process.
func mountPoints(t *testing.T) []string {
	text, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	var points []string
	for line := range strings.Lines(string(text)) {
		points = append(points, strings.Fields(line)[4])
	}
	slices.Sort(points)
	return points
}

// A hand-over that is refused, or fails before the initramfs is given up,
// leaves the machine as it was.
func TestHandOverIsUndone(t *testing.T) {
	for name, test := range map[string]struct {
		stage2  Stage2
		exe     string
		prepare string // its role
		want    string
	}{
		"nothing mounted":     {stage2: Stage2{Root: "/tmp", Init: "/init"}, want: "nothing is mounted at /tmp"},
		"no such root":        {stage2: Stage2{Root: "/no", Init: "/init"}, want: "open the new root /no"},
		"no init":             {stage2: Stage2{Root: "/mnt-root", Init: "/sbin/init"}, want: "/sbin/init in the new root: no such file"},
		"init is a folder":    {stage2: Stage2{Root: "/mnt-root", Init: "/dir"}, want: "no executable file"},
		"init is text":        {stage2: Stage2{Root: "/mnt-root", Init: "/text"}, want: "no executable file"},
		"init leads nowhere":  {stage2: Stage2{Root: "/mnt-root", Init: "/dangling"}, want: "no such file"},
		"a program elsewhere": {stage2: Stage2{Root: "/mnt-root", Init: "/init"}, exe: "/proc/version", want: "not in the root file system"},
		"no program":          {stage2: Stage2{Root: "/mnt-root", Init: "/init"}, exe: "/no", want: "look at /no"},
		"a file in the way":   {stage2: Stage2{Root: "/mnt-root", Init: "/init", Move: []string{"/run", "/file"}}, want: "move /file into /mnt-root"},
		"nothing to move":     {stage2: Stage2{Root: "/mnt-root", Init: "/init", Move: []string{"/no"}}, want: "open /no"},
		"prepare fails":       {stage2: Stage2{Root: "/mnt-root", Init: "/init", Move: []string{"/proc", "/run"}, Prepare: "/prepare"}, prepare: "exit:3", want: "/prepare failed (exit status 3)"},
		"prepare dies":        {stage2: Stage2{Root: "/mnt-root", Init: "/init", Move: []string{"/proc", "/run"}, Prepare: "/prepare"}, prepare: "die", want: "/prepare failed (signal killed)"},
		"prepare hangs":       {stage2: Stage2{Root: "/mnt-root", Init: "/init", Move: []string{"/proc", "/run"}, Prepare: "/prepare"}, prepare: "hang", want: "/prepare did not end in 2s"},
		"no prepare":          {stage2: Stage2{Root: "/mnt-root", Init: "/init", Move: []string{"/proc", "/run"}, Prepare: "/none"}, want: "start /none"},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := machine(t)
			newRoot(t)
			must(t, unix.Mount("tmpfs", "/run", "tmpfs", 0, ""))
			defer unix.Unmount("/run", unix.MNT_DETACH)
			role(t, "prepare", test.prepare)
			if test.exe != "" {
				c.Exe = test.exe
			}
			before := mountPoints(t)
			err := c.handOver(test.stage2)
			var lost *lostError
			if err == nil || !strings.Contains(err.Error(), test.want) || errors.As(err, &lost) {
				t.Errorf("%v, want %q", err, test.want)
			}
			if after := mountPoints(t); !slices.Equal(before, after) {
				t.Errorf("mounted before: %q\nand after: %q", before, after)
			}
			if _, err := os.Stat("/init"); err != nil {
				t.Error(err)
			}
		})
	}
}

// A mount is taken to where the new root has links, and where it has no folder.
func TestMovedMounts(t *testing.T) {
	machine(t)
	root := newRoot(t)
	must(t, os.Symlink("/dir", root+"/alias"))
	must(t, unix.Mount("tmpfs", "/run", "tmpfs", 0, ""))
	defer unix.Unmount("/run", unix.MNT_DETACH)
	must(t, os.MkdirAll("/run/a/alias/b", 0o755))
	must(t, unix.Mount("tmpfs", "/run/a/alias/b", "tmpfs", 0, ""))
	must(t, os.WriteFile("/run/a/alias/b/here", nil, 0o644))
	p, err := prove("/init", Stage2{Root: root, Init: "/link"})
	must(t, err)
	defer p.close()
	sw := &switchover{proof: p, stage2: Stage2{Root: root}}
	must(t, sw.move("/run/a/alias/b"))
	if _, err := os.Stat(root + "/run/a/alias/b/here"); err != nil {
		t.Error(err)
	}
	if fd, err := directory(p.root, "/alias/deeper/still"); err != nil {
		t.Error(err)
	} else {
		unix.Close(fd)
	}
	if _, err := os.Stat(root + "/dir/deeper/still"); err != nil {
		t.Error(err)
	}
	if _, err := directory(p.root, "/dangling"); err == nil || !strings.Contains(err.Error(), "a link to nothing") {
		t.Error(err)
	}
	gone, err := sw.undo()
	must(t, err)
	if len(gone) > 0 {
		t.Errorf("gone: %v", gone)
	}
	if _, err := os.Stat("/run/a/alias/b/here"); err != nil {
		t.Error(err)
	}
}

// What an initramfs holds goes; what is mounted in it stays.
func TestEmpty(t *testing.T) {
	machine(t)
	root := newRoot(t)
	must(t, os.MkdirAll(root+"/a/b/mounted", 0o755))
	must(t, unix.Mount("tmpfs", root+"/a/b/mounted", "tmpfs", 0, ""))
	must(t, os.WriteFile(root+"/a/b/mounted/kept", nil, 0o644))
	fd, err := unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	must(t, err)
	defer unix.Close(fd)
	must(t, empty(fd))
	var left []string
	must(t, filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		left = append(left, strings.TrimPrefix(path, root))
		return err
	}))
	if want := []string{"", "/a", "/a/b", "/a/b/mounted", "/a/b/mounted/kept"}; !slices.Equal(left, want) {
		t.Errorf("left: %q", left)
	}
}

// systemd is told what it goes on from; any other init gets its own arguments.
func TestArguments(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	must(t, os.WriteFile(state, nil, 0o644))
	said := ""
	c := Config{Say: func(line string) { said += line }}
	for _, test := range []struct {
		stage2 Stage2
		want   string
		said   string
	}{
		{Stage2{Init: "/init"}, "[/init]", ""},
		{Stage2{Init: "/busybox", Name: "/sbin/init", Args: []string{"3"}}, "[/sbin/init 3]", ""},
		{Stage2{Init: "/init", State: state}, "[/init --switched-root --system --deserialize=", ""},
		{Stage2{Init: "/init", State: "/no"}, "[/init]", "systemd will not know of the initrd: open /no"},
	} {
		said = ""
		if got := fmt.Sprint(c.arguments(test.stage2)); !strings.HasPrefix(got, test.want) || !strings.HasPrefix(said, test.said) {
			t.Errorf("%+v: %s, said %q", test.stage2, got, said)
		}
	}
}

// The shell that is PID 1 switches under the same rules.
func TestSwitchRootByHand(t *testing.T) {
	machine(t)
	if err := SwitchRoot(func(string) {}, "/tmp/", []string{"/init"}); err == nil || !strings.HasPrefix(err.Error(), "refused to leave the initramfs: ") {
		t.Error(err)
	}
	if err := Exec([]string{"no-such-program"}, nil); err == nil {
		t.Error("executed")
	}
	if err := Exec([]string{"/proc/version"}, nil); err == nil {
		t.Error("executed")
	}
}
