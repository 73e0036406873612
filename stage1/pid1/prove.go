package pid1

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A proof is that a switch to a new root can be dared. It holds both roots.
type proof struct{ old, root int }

func (p *proof) close() {
	unix.Close(p.old)
	unix.Close(p.root)
}

// prove makes sure that / is an initramfs, that it is ours, that this is PID 1,
// and that init is an executable file inside a different, mounted root.
func prove(exe string, s Stage2) (*proof, error) {
	if os.Getpid() != 1 {
		return nil, fmt.Errorf("this is process %d, not 1", os.Getpid())
	}
	var fs unix.Statfs_t
	if err := unix.Statfs("/", &fs); err != nil {
		return nil, fmt.Errorf("look at /: %w", err)
	}
	if fs.Type != unix.RAMFS_MAGIC && fs.Type != unix.TMPFS_MAGIC {
		return nil, fmt.Errorf("/ is no ramfs or tmpfs (type %#x)", fs.Type)
	}
	var root, own, target unix.Stat_t
	if err := unix.Stat("/", &root); err != nil {
		return nil, fmt.Errorf("look at /: %w", err)
	}
	if err := unix.Stat(exe, &own); err != nil {
		return nil, fmt.Errorf("look at %s: %w", exe, err)
	}
	if own.Dev != root.Dev {
		return nil, fmt.Errorf("%s, this program, is not in the root file system", exe)
	}
	dir, err := unix.Open(s.Root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the new root %s: %w", s.Root, err)
	}
	if err = unix.Fstat(dir, &target); err != nil {
		err = fmt.Errorf("look at %s: %w", s.Root, err)
	} else if target.Dev == root.Dev {
		err = fmt.Errorf("nothing is mounted at %s", s.Root)
	} else {
		err = executable(dir, s.Init)
	}
	old := -1
	if err == nil {
		old, err = unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		unix.Close(dir)
		return nil, err
	}
	return &proof{old, dir}, nil
}

// executable makes sure that init is an executable file, by links that stay
// below root.
func executable(root int, init string) error {
	file, err := unix.Openat2(root, init, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT})
	if err != nil {
		return fmt.Errorf("%s in the new root: %w", init, err)
	}
	defer unix.Close(file)
	var info unix.Stat_t
	if err := unix.Fstat(file, &info); err != nil {
		return fmt.Errorf("look at %s: %w", init, err)
	}
	if info.Mode&unix.S_IFMT != unix.S_IFREG || info.Mode&0o111 == 0 {
		return fmt.Errorf("%s in the new root is no executable file (mode %o)", init, info.Mode)
	}
	return nil
}
