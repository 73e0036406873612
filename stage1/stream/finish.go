package stream

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"netstage/mount/dm"
	"netstage/mount/nbd"
)

// swapAgain is when a swap that failed is tried again.
const swapAgain = 10 * time.Second

// finish has the kernel read from the image's memory, and ends all that was
// between.
func (w *worker) finish(ctx context.Context) error {
	if w.spec.SHA256 != nil {
		h := sha256.New()
		if _, err := io.Copy(h, io.NewSectionReader(w.image, 0, w.spec.Size)); err != nil {
			return fmt.Errorf("read the whole image: %w", err)
		}
		if sum := h.Sum(nil); !bytes.Equal(sum, w.spec.SHA256) {
			// Every block is what the tree vouches for: the two contradict
			// each other, and nothing was read that nothing vouches for.
			w.say(fmt.Sprintf("mismatch: the image's sha256 is %x, expected %x; the verity tree vouched for every block", sum, w.spec.SHA256))
		}
	}
	control, err := os.OpenFile(dm.Control, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open the device mapper: %w", err)
	}
	defer control.Close()
	begun := time.Now()
	for {
		if err = w.spec.Device.Swap(control, w.spec.Final); err == nil {
			break
		}
		// Everything is there and served: it goes on so.
		w.log.Warn(fmt.Sprintf("let the kernel read the image from memory: %v; next try in %v", err, swapAgain), "err", err)
		time.Sleep(swapAgain)
		begun = time.Now()
	}
	took := time.Since(begun)
	w.shared.set(wordDone, 1)
	if err := unix.Sendto(workerLine, []byte{wordSwap}, unix.MSG_NOSIGNAL, nil); err != nil {
		return fmt.Errorf("tell the holder: %w", err)
	}
	if err := nbd.Release(w.spec.NBD); err != nil {
		w.log.Warn(err.Error(), "err", err)
	}
	w.unload()
	s := w.write("complete", "")
	w.log.Info(fmt.Sprintf("the image is whole: %d MiB in %.1f s, %d MiB received, %d of %d reads waited, the longest %d ms; swapped within %d ms",
		s.Total>>20, s.Seconds, s.Received>>20, s.Waited, s.Reads, s.LongestMS, took.Milliseconds()))
	w.writeHot()
	if w.handedOver(ctx) { // until then it is the boot's to tell
		w.report(ctx, s)
	}
	return nil
}

// unload gives the driver back. Whoever else uses it keeps it.
func (w *worker) unload() {
	for range 20 {
		if err := unix.DeleteModule("nbd", unix.O_NONBLOCK); err == nil || err == unix.ENOENT {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}
