package block

// A Kind is a type of file system that is recognised on a disk, and offered to
// be mounted: what is in one table is in the other.
type Kind struct {
	Type string // in the words of blkid(8)

	// Driver is the kernel's name for it, where that is another.
	Driver string

	// LookOnly has a read-only mount write nothing either: "ro" alone has a
	// file system mend itself by its journal.
	LookOnly string

	// NoPanic has errors of the file system be told, whatever its superblock
	// says is to be done about them: a kernel that panics is an answer of the
	// superblock's.
	NoPanic string
}

// kinds are all that a disk may hold.
var kinds = []Kind{
	{Type: "ext4", LookOnly: "noload", NoPanic: "errors=continue"}, {Type: "ext3", LookOnly: "noload", NoPanic: "errors=continue"}, {Type: "ext2", NoPanic: "errors=continue"},
	{Type: "xfs", LookOnly: "norecovery"}, {Type: "btrfs", LookOnly: "rescue=nologreplay"},
	{Type: "f2fs", LookOnly: "norecovery"}, {Type: "vfat"}, {Type: "exfat"}, {Type: "ntfs", Driver: "ntfs3"},
	{Type: "iso9660"}, {Type: "udf"}, {Type: "squashfs"}, {Type: "erofs"},
}

// KindOf is what is known of a type; another's driver has its name.
func KindOf(name string) Kind {
	for _, k := range kinds {
		if k.Type == name {
			if k.Driver == "" {
				k.Driver = name
			}
			return k
		}
	}
	return Kind{Type: name, Driver: name}
}
