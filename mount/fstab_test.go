package mount

import (
	"strings"
	"testing"
	"time"
)

func entry(t testing.TB, line string) Entry {
	t.Helper()
	table, err := ParseTable(line)
	if err != nil || len(table) != 1 {
		t.Fatalf("%q: %v, %v", line, table, err)
	}
	return table[0]
}

func TestParseTable(t *testing.T) {
	table, err := ParseTable(`
# made by the module
LABEL=persist /persist ext4 x-initrd.mount,noatime 0 2
/persist/var\040log /var/log none bind,x-initrd.mount 0 0
tmpfs	/scratch	tmpfs
`)
	if err != nil || len(table) != 3 || table[0].Device != "LABEL=persist" || !table[0].Check || !table[0].Has("noatime") ||
		table[1].Device != "/persist/var log" || table[1].Check || table[2].Options != nil {
		t.Errorf("%+v, %v", table, err)
	}
	_, err = ParseTable("/dev/sda1 /a\n/dev/sda1 b ext4 defaults 0 0\n/dev/sda1 /a/../b ext4\n/dev/sda1 /a ext4 x-systemd.device-timeout=soon 0 0\n/dev/sda1 /a ext4 defaults 0 yes\n")
	for _, want := range []string{"line 1: 2 fields", `line 2: mount point "b"`, "line 3: mount point", "line 4: /a: x-systemd.device-timeout=soon", `line 5: /a: "yes"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

// What the kernel is told of an entry, and where its source is.
func TestEntry(t *testing.T) {
	for line, want := range map[string]struct {
		kind            Source
		source, options string
	}{
		"LABEL=a /p ext4 x-initrd.mount,nofail,noatime,data=journal,defaults,x-systemd.growfs": {OnDevice, "LABEL=a", "noatime,data=journal"},
		"/dev/disk/by-uuid/a /p xfs":                               {OnDevice, "/dev/disk/by-uuid/a", ""},
		"partuuid=a /p xfs rw,_netdev,X-mount.mkdir,comment=b":     {OnDevice, "partuuid=a", "rw"},
		"/persist/etc /etc none bind,ro":                           {OnPath, "/mnt-root/persist/etc", "ro"},
		"/dev/shm /shm none rbind":                                 {OnPath, "/dev/shm", ""},
		"../nix-store.squashfs /image squashfs loop,threads=multi": {OnPath, "/nix-store.squashfs", "ro,threads=multi"},
		"/iso/nix-store.squashfs /image squashfs loop,ro":          {OnPath, "/mnt-root/iso/nix-store.squashfs", "ro"},
		"disk.img /img ext4 loop":                                  {OnPath, "/disk.img", ""},
		"/dev/sr0 /cd iso9660 rw":                                  {OnDevice, "/dev/sr0", "ro"},
		"tmpfs /t tmpfs size=5%,mode=0755":                         {NoSource, "tmpfs", "size=5%,mode=0755"},
		"//server/share /s cifs credentials=/c":                    {NoSource, "//server/share", "credentials=/c"},
		"server:/export /s nfs4 ro":                                {NoSource, "server:/export", "ro"},
		"overlay /o overlay lowerdir=/a:/b,upperdir=/u,workdir=/w,x-initrd.mount": {NoSource, "overlay",
			"lowerdir=/mnt-root/a:/mnt-root/b,upperdir=/mnt-root/u,workdir=/mnt-root/w"},
	} {
		e := entry(t, line)
		kind, source := e.Source("/mnt-root")
		if options := e.kernelOptions(func(dir string) string { return "/mnt-root" + dir }); kind != want.kind || source != want.source || options != want.options {
			t.Errorf("%s: %v %q %q, want %+v", line, kind, source, options, want)
		}
	}
}

func TestPatience(t *testing.T) {
	for option, want := range map[string]time.Duration{
		"": 5 * time.Second, "x-systemd.device-timeout=90": 90 * time.Second, "x-systemd.device-timeout=1min\\04030s": 90 * time.Second,
		"x-systemd.device-timeout=5m": 5 * time.Minute, "x-systemd.device-timeout=500ms": 500 * time.Millisecond,
		"x-systemd.device-timeout=0": forEver, "x-systemd.device-timeout=infinity": forEver, "x-systemd.device-timeout=9999999d": forEver,
	} {
		if got := entry(t, "LABEL=a /p ext4 noatime,"+option).Patience(5 * time.Second); got != want {
			t.Errorf("%q: %v, want %v", option, got, want)
		}
	}
}

func FuzzParseTable(f *testing.F) {
	f.Add("LABEL=a /p ext4 x-systemd.device-timeout=1min,lowerdir=/a:/b 0 2\n/a\\040b /c none bind")
	f.Add("../a /b overlay loop=/dev/loop0,,upperdir= 0 0")
	f.Fuzz(func(t *testing.T, text string) {
		table, _ := ParseTable(text)
		for _, e := range table {
			e.Source("/mnt-root")
			if strings.Contains(e.kernelOptions(func(dir string) string { return "/mnt-root" + dir }), "x-systemd") && e.Has("x-systemd.growfs") {
				t.Errorf("%+v keeps systemd's options", e)
			}
			if !strings.HasPrefix(e.Target, "/") || strings.Contains(e.Target, "/../") {
				t.Errorf("%+v is mounted outside", e)
			}
			if p := e.Patience(time.Second); p <= 0 || p > forEver {
				t.Errorf("%+v waits %v", e, p)
			}
		}
	})
}
