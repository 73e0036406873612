package netboot

import (
	"fmt"
	"net"
	"strings"
	"sync"
)

// mostCmdline is how long a command line may be: kernels cut what is longer
// (COMMAND_LINE_SIZE of x86 and arm64, with the zero at the end).
const mostCmdline = 2047

// checkLength holds the whole line against what kernels keep. Where it vouches
// for an image, a line that is cut could boot it unverified.
func checkLength(line string) (warning string, err error) {
	if len(line) <= mostCmdline {
		return "", nil
	}
	text := fmt.Sprintf("the whole command line has %d characters, and kernels cut it at %d: put parameters into the initrd instead (/etc/netstage/cmdline)", len(line), mostCmdline)
	if vouches(line) {
		return "", fmt.Errorf("%s", text)
	}
	return text, nil
}

// vouches tells whether a command line says what an image must be.
func vouches(line string) bool {
	own := parameters(line)
	return namesDigest(line) || own["rootfs.sha256"] || own["rootfs.roothash"] || own["roothash"] || own["rootfs.manifest"]
}

// mostConnections is how many are served at once; more wait to be accepted.
const mostConnections = 4096

// limited is a listener with at most mostConnections open at once.
type limited struct {
	net.Listener
	free chan struct{}
}

func newLimited(l net.Listener) limited { return limited{l, make(chan struct{}, mostConnections)} }

func (l limited) Accept() (net.Conn, error) {
	l.free <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		<-l.free
		return c, nil
	}
	return &limitedConn{TCPConn: tcp, free: sync.OnceFunc(func() { <-l.free })}, nil
}

// limitedConn is a TCP connection still, by which the kernel sends files.
type limitedConn struct {
	*net.TCPConn
	free func()
}

func (c *limitedConn) Close() error {
	defer c.free()
	return c.TCPConn.Close()
}

// isSecret tells whether a name is that of a secret key, which nobody is to
// have.
func isSecret(name string) bool {
	return strings.HasSuffix(name, ".key") || strings.HasSuffix(name, "_key")
}
