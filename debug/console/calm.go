package console

import "golang.org/x/sys/unix"

// Calmed is what was taken off a terminal's settings: by what other means than
// its reader's the other side could stop it.
type Calmed struct {
	path         string
	iflag, cflag uint32
}

// Calm switches off the flow control of a terminal, by characters and by the
// lines of its plug, and sets it going where it was stopped. What is no
// terminal, or has none, is left alone.
func Calm(path string) Calmed {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return Calmed{}
	}
	defer unix.Close(fd)
	modes, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return Calmed{}
	}
	was := Calmed{path, modes.Iflag & (unix.IXON | unix.IXOFF), modes.Cflag & unix.CRTSCTS}
	if was.iflag == 0 && was.cflag == 0 {
		return Calmed{}
	}
	modes.Iflag &^= unix.IXON | unix.IXOFF
	modes.Cflag &^= unix.CRTSCTS
	if unix.IoctlSetTermios(fd, unix.TCSETS, modes) != nil {
		return Calmed{}
	}
	return was
}

// Restore gives the terminal back what Calm took.
func (c Calmed) Restore() {
	if c.path == "" {
		return
	}
	fd, err := unix.Open(c.path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if modes, err := unix.IoctlGetTermios(fd, unix.TCGETS); err == nil {
		modes.Iflag |= c.iflag
		modes.Cflag |= c.cflag
		_ = unix.IoctlSetTermios(fd, unix.TCSETS, modes) // nobody is left to tell
	}
}
