package console

import "golang.org/x/sys/unix"

// FlowControl is what was taken off a terminal's settings: by what other means
// than its reader's the other side could stop it.
type FlowControl struct {
	path         string
	iflag, cflag uint32
}

// StopFlowControl switches off the flow control of a terminal, by characters
// and by the lines of its plug, and sets it going where it was stopped. What is
// no terminal, or has none, is left alone.
func StopFlowControl(path string) FlowControl {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return FlowControl{}
	}
	defer unix.Close(fd)
	modes, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return FlowControl{}
	}
	was := FlowControl{path, modes.Iflag & (unix.IXON | unix.IXOFF), modes.Cflag & unix.CRTSCTS}
	if was.iflag == 0 && was.cflag == 0 {
		return FlowControl{}
	}
	modes.Iflag &^= unix.IXON | unix.IXOFF
	modes.Cflag &^= unix.CRTSCTS
	if unix.IoctlSetTermios(fd, unix.TCSETS, modes) != nil {
		return FlowControl{}
	}
	return was
}

// Restore gives the terminal back what StopFlowControl took.
func (c FlowControl) Restore() {
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
