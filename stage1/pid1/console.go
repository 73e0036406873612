package pid1

import "golang.org/x/sys/unix"

// openConsole puts /dev/console at descriptors 0 to 2 afresh, where it can be
// opened, with further flags. The kernel leaves them closed when the initrd has
// no such node, and a terminal that was hung up by the end of a shell's session
// stays dead for those who had it open. Opening does not wait for the carrier
// of a line.
func openConsole(flags int) {
	console, err := unix.Open("/dev/console", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	unix.SetNonblock(console, flags&unix.O_NONBLOCK != 0)
	for fd := range 3 {
		unix.Dup3(console, fd, 0)
	}
	if console > 2 {
		unix.Close(console)
	}
}
