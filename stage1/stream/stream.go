package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"netstage/fetch/store"
	"netstage/fetch/stream"
	"netstage/mount/dm"
	"netstage/mount/nbd"
)

// Stream is an image that can be used while it comes.
type Stream struct {
	Device *os.File // the block device
	Image  *os.File // what has come of it lies there
	log    *slog.Logger
	device dm.Device
	store  store.Store
	shared *shared
	holder *exec.Cmd
	ended  chan error
	line   *os.File // to the holder
	nbd    int
	undo   []func() error
}

// HandOver tells the stream that stage 2 takes over: from now on readers wait
// as long as it takes. The device goes away with its last user.
func (s *Stream) HandOver() error {
	select {
	case err := <-s.ended:
		s.ended <- err
		return failed("hand it over to stage 2", fmt.Errorf("the process that serves it has ended: %v", err))
	default:
	}
	control, err := os.OpenFile(dm.Control, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer control.Close()
	if err := s.device.LetGo(control); err != nil {
		return err
	}
	if err := watchSystemd(unitDir); err != nil { // a shutdown may wait for a server
		s.log.Warn(err.Error(), "err", err)
	}
	if _, err := s.line.Write([]byte{wordHand}); err != nil {
		return failed("hand it over to stage 2", err)
	}
	return nil
}

// Map says which blocks have come.
func (s *Stream) Map() *stream.Bitmap { return s.shared.bitmap }

// Filled has the rest come, which else would be fetched beside what somebody
// else writes.
func (s *Stream) Filled() { s.shared.set(wordSeeding, 0) }

// Wait waits until the image is whole and the kernel reads it from memory.
func (s *Stream) Wait(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for s.shared.get(wordDone) == 0 {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-s.ended:
			s.ended <- err
			return failed("bring the whole image", fmt.Errorf("the process ended: %v", err))
		case <-tick.C:
		}
	}
	return nil
}

// Abort ends it all. What still reads sees I/O errors.
func (s *Stream) Abort() error {
	var errs []error
	if s.line != nil {
		errs = append(errs, s.line.Close()) // the holder ends
	}
	if s.holder != nil {
		select {
		case err := <-s.ended:
			s.ended <- err
		case <-time.After(2 * time.Second):
			errs = append(errs, s.holder.Process.Kill())
			err := <-s.ended
			s.ended <- err
		}
	}
	if s.nbd >= 0 && s.shared.get(wordDone) == 0 {
		errs = append(errs, nbd.Release(s.nbd))
	}
	if s.device.Path != "" {
		if control, err := os.OpenFile(dm.Control, os.O_RDWR, 0); err == nil {
			errs = append(errs, s.device.LetGo(control), control.Close())
		}
	}
	for i := len(s.undo) - 1; i >= 0; i-- {
		errs = append(errs, s.undo[i]())
	}
	s.undo = nil
	forget()
	return errors.Join(errs...)
}

// forget removes what tells of a stream: nobody is to wait for its end.
func forget() {
	os.Remove(StatusFile)
	os.Remove(lineFile)
	os.Remove(HotFile)
}

// EndOthers ends streams of an earlier try of the boot, whose process is gone.
func EndOthers() {
	defer forget()
	// Stopped first: neither is to see the other's end, and act on it.
	for _, signal := range []unix.Signal{unix.SIGSTOP, unix.SIGKILL} {
		names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, name := range names {
			argv, err := os.ReadFile(name)
			var pid int
			if _, serr := fmt.Sscanf(name, "/proc/%d/", &pid); err == nil && serr == nil && strings.HasPrefix(string(argv), Name+"\x00") {
				unix.Kill(pid, signal)
			}
		}
	}
}
