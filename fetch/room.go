package fetch

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"netstage/fetch/internal/mirror"
	"netstage/fetch/store"
	"netstage/stage1/fault"
)

// memoryMargin stays free besides the image: the buffers, the agent, and the
// first steps of stage 2.
const memoryMargin = 64 << 20

// SystemMemAvailable is MemAvailable of /proc/meminfo, in bytes.
func SystemMemAvailable() (int64, error) {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "MemAvailable:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("/proc/meminfo has no MemAvailable")
}

// mib rounds up to MiB.
func mib(n int64) int64 { return (n + 1<<20 - 1) >> 20 }

// room is the file that an image is put into, and what there is room for.
type room struct {
	store     store.Store
	available func() (int64, error) // memory
	log       *slog.Logger
	file      *os.File
	size      int64 // bytes there is room for
}

func newRoom(req Request) *room {
	return &room{store: req.Store, available: req.MemAvailable, log: req.Log, size: -1}
}

// prepare makes the store ready for an image of size bytes from its start, or
// -1 where that is not known.
func (r *room) prepare(size int64) *mirror.Fault {
	if r.file != nil {
		if size == r.size {
			return nil // the same image once more: it is written over
		}
		// What is there goes first, so that it counts as available again.
		if err := r.file.Truncate(0); err != nil {
			return mirror.StoreFault(err)
		}
	}
	want := size
	if size < 0 {
		want = store.Step
	}
	if err := r.checkMemory(want, 0); err != nil {
		return err
	}
	f, err := r.store.Create(want)
	if err != nil {
		return mirror.StoreFault(err)
	}
	r.file, r.size = f, want
	return nil
}

// grow makes room for at least size bytes in all.
func (r *room) grow(size int64) *mirror.Fault {
	for size > r.size {
		if err := r.checkMemory(store.Step, r.size); err != nil {
			return err
		}
		if err := r.store.Grow(r.size + store.Step); err != nil {
			return mirror.StoreFault(err)
		}
		r.size += store.Step
	}
	return nil
}

// checkMemory refuses what would not fit: more bytes besides the ones already
// there.
func (r *room) checkMemory(more, have int64) *mirror.Fault {
	if !r.store.InMemory() {
		return nil
	}
	available, err := r.available()
	if err != nil {
		r.log.Warn("cannot tell the memory available", "err", err)
		return nil
	}
	if more <= available-memoryMargin {
		return nil
	}
	what := fmt.Sprintf("the image needs %d MiB of memory and %d MiB besides", mib(more), memoryMargin>>20)
	if have > 0 {
		what = fmt.Sprintf("the image needs more than %d MiB of memory and %d MiB besides", mib(have+more), memoryMargin>>20)
	}
	return mirror.NewFault(mirror.Fatal, fault.NoMemory, nil, "%s, %d MiB are available: add memory to the machine or make the image smaller",
		what, (available+have)>>20)
}
