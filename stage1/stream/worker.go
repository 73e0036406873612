package stream

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"netstage/fetch/stream"
	"netstage/fetch/verity"
	"netstage/netup"
	"netstage/netup/lease"
)

// The worker's descriptors.
const (
	workerSpec = 3 + iota
	workerLine
	workerImage
	workerShared
	workerTree
	workerKernel // held open, so that the kernel waits also when the holder dies
)

type worker struct {
	spec   spec
	log    *slog.Logger
	plain  *slog.Logger // for whoever says himself what he speaks of
	say    func(string)
	shared *shared
	image  *os.File
	stream *stream.Stream
	lease  atomic.Pointer[lease.Lease]
	before uint64 // received by earlier workers

	hotWritten uint64 // how much of the list
}

// work is the worker's life.
func work(log *slog.Logger, say func(string)) int {
	w := &worker{log: log.With("what", "stream"), plain: log, say: say}
	for fd := workerSpec; fd <= workerKernel; fd++ {
		unix.CloseOnExec(fd)
	}
	if err := w.run(context.Background()); err != nil {
		say(err.Error())
		return 1
	}
	return 0
}

func (w *worker) run(ctx context.Context) (err error) {
	if w.spec, err = readSpec(os.NewFile(workerSpec, "spec")); err != nil {
		return err
	}
	if w.shared, err = openShared(os.NewFile(workerShared, "shared"), w.spec.Size, w.spec.BlockSize); err != nil {
		return err
	}
	w.spec.Lease.Acquired = time.Now().Add(-w.spec.LeaseAge - since(w.shared.get(wordStarted)))
	w.lease.Store(&w.spec.Lease)
	w.before, w.image = w.shared.get(wordReceived), os.NewFile(workerImage, "image")
	text, err := mapTree()
	if err != nil {
		return fmt.Errorf("map the verity tree: %w", err)
	}
	// The boot has checked all of it: what stage 2 waits for does not wait for
	// that again.
	tree, err := verity.Reopen(text, w.spec.RootHash)
	if err != nil {
		return err
	}
	if tree.Size() != w.spec.Size {
		return fmt.Errorf("the verity tree is of %d bytes, the image has %d", tree.Size(), w.spec.Size)
	}
	ranges, err := w.ranges()
	if err != nil {
		return err
	}
	living, end := context.WithCancel(ctx)
	defer end()
	go w.beat(living)
	w.stream = stream.New(stream.Config{
		Begin:   w.restBegins(living),
		Store:   &stream.Store{File: w.image, Tree: tree, Map: w.shared.bitmap},
		Mirrors: ranges, Hot: w.spec.Hot, OnDemand: w.spec.OnDemand, Partial: w.spec.Keep > 0, LowSpeed: w.spec.LowSpeed, Log: w.plain,
		Changed: func() { // whoever waits is told; a full line holds a word already
			if w.shared.get(wordWaiting) != 0 {
				unix.Sendto(workerLine, []byte{wordCame}, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil)
			}
		},
	})
	go func() {
		if w.handedOver(living) { // until then it is the boot's
			netup.Renew(living, w.spec.Lease, w.spec.ClientID, w.plain, func(l lease.Lease) { w.lease.Store(&l) })
		}
	}()
	go w.hear()
	stop := make(chan struct{})
	go w.reportStatus(stop)
	if err := w.stream.Run(ctx); err != nil {
		return err
	}
	close(stop)
	return w.finish(ctx)
}

// mapTree maps the tree: it is too large for a heap that has a limit. All of it
// is in memory then, and stays.
func mapTree() ([]byte, error) {
	size, err := unix.Seek(workerTree, 0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	return unix.Mmap(workerTree, 0, int(size), unix.PROT_READ, unix.MAP_SHARED|unix.MAP_POPULATE)
}

// hear takes the holder's needs. Its end is the machine's, once stage 2 runs.
func (w *worker) hear() {
	var b [64]byte
	for {
		n, err := unix.Read(workerLine, b[:])
		switch {
		case err == unix.EINTR:
		case err == nil && n == needLength && b[0] == wordNeed:
			w.stream.Need(stream.Span{Off: int64(binary.NativeEndian.Uint64(b[1:])), Len: int64(binary.NativeEndian.Uint64(b[9:]))})
		case w.shared.get(wordHanded) == 0:
			os.Exit(1)
		case w.shared.get(wordDone) != 0:
			return
		default:
			reboot(w.say, "the process that answers the kernel has ended")
			os.Exit(1)
		}
	}
}

// beat gives the holder a sign of life, now and then.
func (w *worker) beat(ctx context.Context) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		w.shared.add(wordBeat, 1)
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// restAfter is how long the rest waits for stage 2 to begin: what the boot
// reads has the link, and the processor, to itself.
const restAfter = 3 * time.Second

func (w *worker) restBegins(ctx context.Context) <-chan struct{} {
	begin := make(chan struct{})
	soon, end := context.WithTimeout(ctx, restAfter-since(w.shared.get(wordStarted)))
	go func() {
		defer end()
		defer close(begin)
		for handed := w.handedOver(soon); !handed && w.shared.get(wordSeeding) != 0 && ctx.Err() == nil; {
			time.Sleep(100 * time.Millisecond)
			handed = w.shared.get(wordHanded) != 0
		}
	}()
	return begin
}

// handedOver waits until stage 2 runs.
func (w *worker) handedOver(ctx context.Context) bool {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for w.shared.get(wordHanded) == 0 {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}

// waitEvery is how often it is said what readers wait for.
const waitEvery = 10 * time.Second

// reportStatus says how far it is.
func (w *worker) reportStatus(stop chan struct{}) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	said := time.Time{}
	for {
		select {
		case <-stop:
			return
		case now := <-tick.C:
			waiting := ""
			if began := w.shared.get(wordWaiting); began != 0 {
				if waited := since(began); waited >= time.Second {
					at := int64(w.shared.get(wordWaitOffset))
					waiting = fmt.Sprintf("a reader has waited %.0f s for byte %d of the image (block %d): %s", waited.Seconds(), at, at/w.spec.BlockSize, w.stream.Why())
					if waited >= waitEvery && now.Sub(said) >= waitEvery {
						said = now
						w.log.Warn(waiting)
					}
				}
			}
			state := "streaming"
			if w.spec.OnDemand {
				state = "demand"
			}
			w.write(state, waiting)
			w.writeHot()
		}
	}
}

// write writes the status.
func (w *worker) write(state, waiting string) Status {
	w.shared.set(wordReceived, w.before+uint64(w.stream.Received()))
	s := w.shared.status()
	s.State, s.Waiting = state, waiting
	if text, err := json.Marshal(s); err == nil {
		replace(lineFile, []byte(s.line()+"\n"))
		replace(StatusFile, append(text, '\n'))
	}
	return s
}

// replace writes a file that nobody sees half of, for all to read.
func replace(name string, text []byte) { replaceWith(name, text, 0o644) }

func replaceWith(name string, text []byte, mode os.FileMode) {
	next := filepath.Join(filepath.Dir(name), "."+filepath.Base(name))
	if os.WriteFile(next, text, mode) == nil {
		os.Rename(next, name) // the old one stays
	}
}
