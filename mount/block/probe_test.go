package block

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// made makes a file of that many MiB by a program, whose last argument it is.
func made(t testing.TB, mib int64, command ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, mib<<20); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(command[0], append(command[1:], file)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
	return file
}

func probeFile(t testing.TB, name string) Content {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	c, err := Probe(file, info.Size())
	if err != nil {
		t.Error(err)
	}
	return c
}

// blkid is what util-linux finds.
func blkid(t *testing.T, file string) (c Content) {
	t.Helper()
	out, err := exec.Command("blkid", "-p", "-o", "export", file).Output()
	if err != nil {
		t.Fatalf("blkid: %v", err)
	}
	for line := range strings.Lines(strings.ReplaceAll(string(out), `\ `, " ")) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "TYPE":
			c.Type = value
		case "LABEL":
			c.Label = value
		case "UUID":
			c.UUID = value
		}
	}
	return c
}

// What the tools of each file system make is told as blkid tells it.
func TestProbeAgreesWithBlkid(t *testing.T) {
	tree := t.TempDir()
	if err := os.WriteFile(tree+"/file", []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		mib     int64
		command []string
		want    Content // Type, and Label
	}{
		"ext4":          {8, []string{"mkfs.ext4", "-q", "-L", "my data", "-U", "0f0e0d0c-0b0a-0908-0706-050403020100"}, Content{Type: "ext4", Label: "my data"}},
		"ext3":          {8, []string{"mkfs.ext3", "-q"}, Content{Type: "ext3"}},
		"ext2":          {8, []string{"mkfs.ext2", "-q", "-L", "sixteen-letters."}, Content{Type: "ext2", Label: "sixteen-letters."}},
		"journal":       {8, []string{"mkfs.ext4", "-q", "-O", "journal_dev"}, Content{Type: "jbd"}},
		"xfs":           {320, []string{"mkfs.xfs", "-q", "-L", "twelve-chars"}, Content{Type: "xfs", Label: "twelve-chars"}},
		"btrfs":         {128, []string{"mkfs.btrfs", "-q", "-L", "the pool"}, Content{Type: "btrfs", Label: "the pool"}},
		"FAT12":         {4, []string{"mkfs.vfat", "-F", "12", "-n", "BOOT"}, Content{Type: "vfat", Label: "BOOT"}},
		"FAT16":         {32, []string{"mkfs.vfat", "-F", "16"}, Content{Type: "vfat"}},
		"FAT32":         {64, []string{"mkfs.vfat", "-F", "32", "-n", "EFI SYSTEM"}, Content{Type: "vfat", Label: "EFI SYSTEM"}},
		"f2fs":          {128, []string{"mkfs.f2fs", "-q", "-l", "flash disk"}, Content{Type: "f2fs", Label: "flash disk"}},
		"exFAT":         {16, []string{"mkfs.exfat", "-L", "USB STICK"}, Content{Type: "exfat", Label: "USB STICK"}},
		"exFAT unnamed": {16, []string{"mkfs.exfat"}, Content{Type: "exfat"}},
		"NTFS":          {16, []string{"mkfs.ntfs", "-q", "-F", "-L", "Windows data"}, Content{Type: "ntfs", Label: "Windows data"}},
		"UDF":           {32, []string{"mkudffs", "--utf8", "-l", "Scheibe"}, Content{Type: "udf", Label: "Scheibe"}},
		"UDF, 512":      {32, []string{"mkudffs", "--utf8", "-b", "512", "-l", "stick"}, Content{Type: "udf", Label: "stick"}},
		"UDF, eight":    {32, []string{"mkudffs", "--utf8", "-l", "a", "--fullvsid", "deadBEEFxyz! a set"}, Content{Type: "udf", Label: "a"}},
		"UDF, text":     {32, []string{"mkudffs", "--utf8", "-l", "b", "--fullvsid", "plain volume set"}, Content{Type: "udf", Label: "b"}},
		"UDF, wide":     {32, []string{"mkudffs", "--utf8", "-l", "c", "--fullvsid", "0123456789ab世界"}, Content{Type: "udf", Label: "c"}},
		"swap":          {1, []string{"mkswap", "-q", "-L", "pages"}, Content{Type: "swap", Label: "pages"}},
		"swap of 64KiB": {1, []string{"mkswap", "-q", "-p", "65536"}, Content{Type: "swap"}},
		"squashfs":      {0, []string{"sh", "-c", `mksquashfs "$0" "$1" -quiet -no-progress -noappend`, tree}, Content{Type: "squashfs"}},
		"iso9660":       {0, []string{"sh", "-c", `genisoimage -quiet -V my_iso -o "$1" "$0"`, tree}, Content{Type: "iso9660", Label: "my_iso"}},
		"erofs":         {0, []string{"sh", "-c", `mkfs.erofs "$1" "$0"`, tree}, Content{Type: "erofs"}},
	} {
		t.Run(name, func(t *testing.T) {
			file := made(t, test.mib, test.command...)
			got, want := probeFile(t, file), blkid(t, file)
			want.devices = got.devices // which blkid does not tell
			if got.Type != test.want.Type || got.Label != test.want.Label {
				t.Errorf("%+v, want %+v", got, test.want)
			}
			if got != want {
				t.Errorf("%+v, blkid says %+v", got, want)
			}
		})
	}
}

// The FAT of a volume that was renamed has the old name in its boot sector.
func TestProbeRenamedFAT(t *testing.T) {
	file := made(t, 64, "mkfs.vfat", "-F", "32", "-n", "OLD")
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("NEVER      "), 71); err != nil {
		t.Fatal(err)
	}
	if got := probeFile(t, file); got.Label != "OLD" || got != blkid(t, file) {
		t.Errorf("%+v, blkid says %+v", got, blkid(t, file))
	}
}

// Parts of a RAID, of a volume group or of an encrypted disk are not taken for
// the file system that may be found in them.
func TestProbeMembers(t *testing.T) {
	ext := made(t, 8, "mkfs.ext4", "-q", "-L", "data")
	whole, err := os.ReadFile(ext)
	if err != nil {
		t.Fatal(err)
	}
	md := []byte{0xfc, 0x4e, 0x2b, 0xa9}
	at := func(offset int, magic []byte) []byte {
		b := bytes.Clone(whole)
		copy(b[offset:], magic)
		return b
	}
	for want, images := range map[string][][]byte{
		"linux_raid_member": {at(0, md), at(4096, md), at(len(whole)-8<<10, md), at(len(whole)-64<<10, md)},
		"LVM2_member":       {at(512, append([]byte("LABELONE"+strings.Repeat("\x00", 16)), "LVM2 001"...))},
		"crypto_LUKS":       {at(0, []byte("LUKS\xba\xbe\x00\x02"))},
		"ext4":              {whole},
		"":                  {make([]byte, 1<<20), make([]byte, 100), nil},
	} {
		for _, image := range images {
			c, err := Probe(bytes.NewReader(image), int64(len(image)))
			if err != nil || c.Type != want || (c.Label == "data") != (want == "ext4") {
				t.Errorf("want %q: %+v, %v", want, c, err)
			}
		}
	}
	if _, err := Probe(bytes.NewReader(whole[:1000]), 1<<20); err == nil {
		t.Error("a device that can't be read is taken for an empty one")
	}
}

// Partition tables as sfdisk makes them; sfdisk also tells what is right.
func TestPartitions(t *testing.T) {
	for name, script := range map[string]string{
		"gpt": "label: gpt\nsize=1MiB, name=\"boot part\"\nstart=4MiB, size=1MiB, name=\"zweite äö\"\n",
		"mbr": "label: dos\nlabel-id: 0xcafe0001\nstart=2048, size=2048\nstart=8192, size=20480, type=5\nsize=1024\nsize=1024\nsize=1024\n",
	} {
		t.Run(name, func(t *testing.T) {
			file := made(t, 16, "sh", "-c", `printf '`+script+`' | sfdisk -q "$0"`)
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			parts, err := Partitions(f, 512)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for n := range 10 {
				if p, ok := parts[n]; ok {
					got += fmt.Sprintf("%d %s %s\n", n, p.UUID, p.Label)
				}
			}
			out, err := exec.Command("sh", "-c", `sfdisk -d "$0" | sed -n 's/^[^ ]*disk\([0-9]*\) : /\1 /p'`, file).Output()
			if err != nil {
				t.Fatal(err)
			}
			want := ""
			for line := range strings.Lines(string(out)) {
				number, rest, _ := strings.Cut(line, " ")
				id, label := "cafe0001-0"+number, ""
				if _, u, ok := strings.Cut(rest, "uuid="); ok {
					u, _, _ = strings.Cut(u, ",")
					id = strings.ToLower(strings.TrimSpace(u))
				}
				if _, n, ok := strings.Cut(rest, `name="`); ok {
					label, _, _ = strings.Cut(n, `"`)
					label = unescape(label)
				}
				want += fmt.Sprintf("%s %s %s\n", number, id, label)
			}
			if got != want || strings.Count(got, "\n") < 2 {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
	if parts, err := Partitions(strings.NewReader("short"), 512); parts != nil || err != nil {
		t.Errorf("no disk: %v, %v", parts, err)
	}
}

// A disk may hold anything.
func FuzzProbe(f *testing.F) {
	for _, command := range [][]string{
		{"mkfs.ext4", "-q", "-L", "x"}, {"mkfs.vfat", "-n", "X"}, {"mkswap", "-q"}, {"sh", "-c", `echo size=1MiB | sfdisk -q -X gpt "$0"`},
		{"sh", "-c", `printf '2048 2048 83\n4096 2048 5\n4196 100 83\n' | sfdisk -q "$0"`},
	} {
		image, err := os.ReadFile(made(f, 3, command...))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(image[:80<<10])
		f.Add(image[:2048])
	}
	f.Add([]byte("XFSB" + strings.Repeat("\xff", 200)))
	f.Fuzz(func(t *testing.T, image []byte) {
		c, err := Probe(bytes.NewReader(image), int64(len(image)))
		if err != nil {
			t.Errorf("%v", err)
		}
		if c.Type == "" && c != (Content{}) {
			t.Errorf("a name without a type: %+v", c)
		}
		for _, sector := range []int{512, 4096} {
			if _, err := Partitions(bytes.NewReader(image), sector); err != nil && !strings.Contains(err.Error(), "EOF") {
				t.Error(err)
			}
		}
	})
}
