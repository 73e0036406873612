package root

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"netstage/mount"
)

// A handed is a file that a second archive, appended to the initrd, hands to
// stage 2.
type handed struct {
	from string // a pattern in the initramfs
	dir  string // in the new root
	mode fs.FileMode
}

// handIns are the files of nixos-images' kexec (kexec-run.sh), and where its
// stage 2 finds them (restore-remote-access.nix; the network's are read by
// restore-network).
var handIns = []handed{
	{"/ssh/authorized_keys", "/root/.ssh", 0o400},
	{"/ssh/ssh_host_*", "/etc/ssh", 0o400},
	{"/addrs.json", "/root/network", 0o644},
	{"/routes-v4.json", "/root/network", 0o644},
	{"/routes-v6.json", "/root/network", 0o644},
	{"/machine-id", "/etc", 0o444},
}

// folderModes are those of folders that are made for them; 0755 of the others.
var folderModes = map[string]fs.FileMode{"/root": 0o700, "/root/.ssh": 0o700}

// handIn copies what a second archive handed in to where stage 2 expects it. It
// is the last to write there: what a disk kept of an earlier boot is older.
func (s *Step) handIn() error {
	count := 0
	for _, h := range handIns {
		files, err := filepath.Glob(filepath.Join(s.Initrd, h.from))
		if err != nil {
			return err
		}
		for _, file := range files {
			err := makeFolders(newRoot, h.dir)
			if err == nil {
				err = mount.CopyFile(file, filepath.Join(newRoot, h.dir, filepath.Base(file)), h.mode)
			}
			if errors.Is(err, syscall.EROFS) { // an /etc that is not to be written to
				s.Log.Warn("handed in: "+file+" has no place in this system", "err", err)
				continue
			}
			if err != nil {
				return fmt.Errorf("hand in %s: %w", file, err)
			}
			count++
		}
	}
	if count > 0 {
		s.Log.Info(fmt.Sprintf("handed in: %d files of the initrd for stage 2", count))
	}
	return nil
}

// makeFolders makes dir below root; what is there keeps its mode.
func makeFolders(root, dir string) error {
	if dir == "/" {
		return nil
	}
	if err := makeFolders(root, filepath.Dir(dir)); err != nil {
		return err
	}
	mode, ok := folderModes[dir]
	if !ok {
		mode = 0o755
	}
	if err := os.Mkdir(filepath.Join(root, dir), mode); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
