package stream

import (
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Whether the machine goes down nobody can be asked: it takes no program that
// may not have come. A FIFO of systemd's is there while the machine is up;
// systemd itself removes it as the first thing of a shutdown, and executes
// nothing for it.
const (
	upFile   = "/run/netstage/up"
	unitDir  = "/run/systemd/system"
	upSocket = `[Unit]
Description=Tell the stream of the image when the machine goes down
Documentation=https://systemd.io/ROOT_STORAGE_DAEMONS
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target
IgnoreOnIsolate=yes

[Socket]
ListenFIFO=` + upFile + `
SocketMode=0600
RemoveOnStop=yes
`
	// Nobody writes to the FIFO; a socket has to have a service.
	upService = `[Unit]
Description=Nothing
DefaultDependencies=no

[Service]
Type=oneshot
ExecStart=/bin/true
`
)

// watchSystemd leaves the units for the systemd of stage 2.
func watchSystemd(dir string) error {
	wants := filepath.Join(dir, "sockets.target.wants")
	if err := os.MkdirAll(wants, 0o755); err != nil {
		return err
	}
	for name, text := range map[string]string{"netstage-stream.socket": upSocket, "netstage-stream.service": upService} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	link := filepath.Join(wants, "netstage-stream.socket")
	if err := os.Remove(link); err != nil && !os.IsNotExist(err) { // of an earlier try
		return err
	}
	return os.Symlink("../netstage-stream.socket", link)
}

// How long a read waits while the machine goes down, at first, and once a
// server has kept one waiting for so long; and how long the shutdown has where
// it still reads in vain: systemd-shutdown itself can't be had, perhaps.
const (
	downRead  = 5 * time.Second
	downNext  = time.Second
	downLimit = 3 * time.Minute
)

// shutdown is what the holder knows of it.
type shutdown struct {
	up     string    // the file
	looked time.Time // when
	was    bool      // it has been there
	since  time.Time // of the shutdown; zero: none
	wait   time.Duration
	vain   time.Time // the last read that waited in vain
}

// look looks once a second.
func (d *shutdown) look(now time.Time) {
	if now.Sub(d.looked) < time.Second {
		return
	}
	d.looked = now
	switch is := unix.Access(d.up, unix.F_OK) == nil; {
	case is: // again, perhaps: after a soft reboot
		d.was, d.since = true, time.Time{}
	case d.was && d.since.IsZero():
		d.since, d.wait = now, downRead
	}
}

// limit is how long a read waits, given how long it does while the machine is
// up; 0 is for ever.
func (d *shutdown) limit(up time.Duration) time.Duration {
	if d.since.IsZero() || up > 0 && up < d.wait {
		return up
	}
	return d.wait
}

// readEnded learns of reads: whoever waited in vain tells of the others.
func (d *shutdown) readEnded(now time.Time, answered bool) {
	if d.wait = downRead; !answered {
		d.wait, d.vain = downNext, now
	}
}

// stuck tells whether the shutdown does not come to its end.
func (d *shutdown) stuck(now time.Time) bool {
	return !d.since.IsZero() && now.Sub(d.since) > downLimit && now.Sub(d.vain) < 2*downRead
}
