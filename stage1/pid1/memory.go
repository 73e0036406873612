package pid1

import (
	"errors"

	"golang.org/x/sys/unix"
)

// sealed is text in a file of memory that nobody can change, open as its
// result.
func sealed(text []byte) (int, error) {
	fd, err := unix.MemfdCreate("netstage", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return -1, err
	}
	for rest := text; len(rest) > 0; {
		n, err := unix.Write(fd, rest)
		if err != nil {
			return -1, errors.Join(err, unix.Close(fd))
		}
		rest = rest[n:]
	}
	_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE|unix.F_SEAL_SEAL)
	if err == nil {
		_, err = unix.Seek(fd, 0, 0)
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}
