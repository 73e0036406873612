package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"netstage/mount/nbd"
)

// The holder's descriptors.
const (
	holderSpec = 3 + iota
	holderKernel
	holderImage
	holderShared
	holderBoot
	holderTree
	holderLoop // kept open, so that the loop device stays until it is used
)

// bootLimit is how long a read waits before stage 2 runs: the boot is to fail
// with a cause, and not to hang in the kernel.
const bootLimit = 90 * time.Second

// lookEvery is how often the holder looks around where nothing happens.
const lookEvery = time.Second

// Words between the processes: one byte, for a need with an offset and length.
const (
	wordNeed   = 'n' // holder to worker: a reader waits
	wordCame   = 'c' // worker to holder: blocks have come
	wordSwap   = 's' // worker to holder: the kernel needs neither any more
	wordHand   = 'h' // boot to holder: stage 2 takes over
	needLength = 17
)

type holder struct {
	spec   spec
	say    func(string)
	shared *shared
	server *nbd.Server
	image  *os.File
	keep   *keeper
	boot   int // -1: gone
	handed bool
	down   shutdown

	worker    *os.Process
	reader    *os.Process // nil: none was started
	line      int         // to the worker
	heartbeat heartbeat
	born      time.Time // of a worker that took another's place
	swapped   bool
	unsent    bool // a need did not go through
	ended     bool // the kernel has said goodbye
	poll      []unix.PollFd
	message   [64]byte
}

// data is what the kernel reads.
type data struct {
	io.ReaderAt
	shared *shared
}

func (d data) Has(off, n int64) bool { return d.shared.has(off, n) }

// hold is the holder's life.
func hold(say func(string), silence time.Duration) int {
	h := &holder{say: say, down: shutdown{up: upFile}, heartbeat: heartbeat{limit: silence}, boot: holderBoot, poll: make([]unix.PollFd, 3)}
	if err := h.open(); err != nil {
		say(err.Error())
		return 1
	}
	if err := h.startWorker(); err != nil {
		return h.lost(fmt.Sprintf("start a worker: %v", err))
	}
	for {
		if err := h.turn(); err != nil {
			return h.lost(err.Error())
		}
		if h.swapped && h.worker == nil {
			h.endReader() // nothing waits any more
			return 0
		}
		if !h.handed && h.boot < 0 { // the boot is over, or starts anew
			h.worker.Kill()
			return 0
		}
	}
}

func (h *holder) open() (err error) {
	for fd := holderSpec; fd <= holderLoop; fd++ {
		unix.CloseOnExec(fd)
	}
	if h.spec, err = readSpec(os.NewFile(holderSpec, "spec")); err != nil {
		return err
	}
	if h.shared, err = openShared(os.NewFile(holderShared, "shared"), h.spec.Size, h.spec.BlockSize); err != nil {
		return err
	}
	h.image = os.NewFile(holderImage, "image")
	h.keep = newKeeper(h.spec.Keep, h.image, h.shared)
	h.server = nbd.NewServer(holderKernel, h.spec.Size, data{h.image, h.shared})
	return nil
}

// turn waits for whatever happens next and sees to it.
func (h *holder) turn() error {
	h.poll[0] = unix.PollFd{Fd: holderKernel, Events: unix.POLLIN}
	h.poll[1] = unix.PollFd{Fd: int32(h.line), Events: unix.POLLIN}
	h.poll[2] = unix.PollFd{Fd: int32(h.boot), Events: unix.POLLIN}
	if h.ended {
		h.poll[0].Fd = -1
	}
	wait := lookEvery
	if h.unsent {
		wait = 10 * time.Millisecond
	}
	if _, err := unix.Poll(h.poll, int(wait.Milliseconds())); err != nil && err != unix.EINTR {
		return fmt.Errorf("wait: %w", err)
	}
	now := time.Now()
	if h.poll[0].Revents != 0 {
		w, err := h.server.Next(now)
		switch {
		case errors.Is(err, nbd.ErrEnd):
			h.ended = true
		case err != nil:
			return err
		}
		if r, ok := h.server.Last(); ok {
			h.shared.add(wordReads, 1)
			h.shared.touch(r.Offset, r.Length)
			h.keep.touch(r.Offset, r.Length)
		}
		if w != nil {
			h.shared.add(wordWaited, 1)
			h.need(w.Request)
		}
	}
	if h.poll[1].Revents != 0 {
		if err := h.hearWorker(); err != nil {
			return err
		}
	}
	if h.poll[2].Revents != 0 {
		h.hearBoot()
	}
	if h.worker != nil && h.heartbeat.silent(now, h.shared.get(wordBeat)) {
		h.say(fmt.Sprintf("the process that fetches has given no sign of life for %.0f s and is ended", h.heartbeat.limit.Seconds()))
		h.worker.Kill() // its end is heard
	}
	h.reapReader()
	if h.unsent {
		h.needAll()
	}
	limit := bootLimit
	if h.handed {
		h.down.look(now)
		limit = h.down.limit(h.spec.Timeout)
	}
	// First: what comes from now on the worker tells.
	h.noteWaiting()
	err := h.server.Settle(now, limit, func(w *nbd.Wait, answered bool) {
		h.down.readEnded(now, answered)
		if took := uint64(time.Since(w.Since)); took > h.shared.get(wordLongest) {
			h.shared.set(wordLongest, took)
		}
	})
	h.noteWaiting()
	if err != nil {
		return err
	}
	if h.down.stuck(now) {
		return errors.New("the machine goes down, and what that takes can't be read")
	}
	return h.keep.drop(h.server.Waiting())
}

// noteWaiting tells the worker what waits longest.
func (h *holder) noteWaiting() {
	var oldest *nbd.Wait
	for i := range h.server.Waiting() {
		if w := &h.server.Waiting()[i]; oldest == nil || w.Since.Before(oldest.Since) {
			oldest = w
		}
	}
	if oldest == nil {
		h.shared.set(wordWaiting, 0)
		return
	}
	h.shared.set(wordWaitOffset, uint64(oldest.Offset))
	h.shared.set(wordWaiting, monotonic()-uint64(time.Since(oldest.Since)))
}

// need tells the worker what a reader waits for.
func (h *holder) need(r nbd.Request) {
	b := h.message[:needLength]
	b[0] = wordNeed
	binary.NativeEndian.PutUint64(b[1:], uint64(r.Offset))
	binary.NativeEndian.PutUint64(b[9:], uint64(r.Length))
	if err := unix.Sendto(h.line, b, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil); err != nil {
		h.unsent = true
	}
}

// needAll tells it all over again.
func (h *holder) needAll() {
	h.unsent = false
	for _, w := range h.server.Waiting() {
		if h.need(w.Request); h.unsent {
			return
		}
	}
}

func (h *holder) hearBoot() {
	n, err := unix.Read(h.boot, h.message[:1])
	switch {
	case err == unix.EINTR:
	case n == 1 && h.message[0] == wordHand:
		h.handed = true
		h.shared.set(wordHanded, 1)
		h.startReader()
	default:
		unix.Close(h.boot)
		h.boot = -1
	}
}

// lost is the end when nothing can go on. Before stage 2 runs the boot sees to
// it; after that a machine without its root is no machine.
func (h *holder) lost(why string) int {
	if h.worker != nil {
		h.worker.Kill()
	}
	if !h.handed {
		h.say(why)
		return 1
	}
	reboot(h.say, why)
	return 1
}

// reboot ends a machine that has lost its root.
func reboot(say func(string), why string) {
	say("the root is lost: " + why + "; rebooting")
	synced := make(chan struct{})
	go func() { unix.Sync(); close(synced) }()
	select {
	case <-synced:
	case <-time.After(10 * time.Second):
	}
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART); err != nil {
		say("reboot: " + err.Error())
	}
}
