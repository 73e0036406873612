package fetch

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// memoryMargin stays free besides the image: the buffers, the agent, and the first steps of stage 2.
	memoryMargin = 64 << 20
	// growStep is how much room an image of unknown size is given at a time.
	growStep = 32 << 20
)

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

// prepare makes the store ready for an image of size bytes from its start, or -1 where that is not known.
func (e *engine) prepare(size int64) *Error {
	if e.file != nil {
		if size == e.room {
			return nil // the same image once more: it is written over
		}
		// What is there goes first, so that it counts as available again.
		if err := e.file.Truncate(0); err != nil {
			return storeError(err)
		}
	}
	room := size
	if size < 0 {
		room = growStep
	}
	if err := e.checkMemory(room, 0); err != nil {
		return err
	}
	f, err := e.req.Store.Create(room)
	if err != nil {
		return storeError(err)
	}
	e.file, e.room = f, room
	return nil
}

// grow makes room for at least size bytes in all.
func (e *engine) grow(size int64) *Error {
	for size > e.room {
		if err := e.checkMemory(growStep, e.room); err != nil {
			return err
		}
		if err := e.req.Store.Grow(e.room + growStep); err != nil {
			return storeError(err)
		}
		e.room += growStep
	}
	return nil
}

// checkMemory refuses what would not fit: more bytes besides the ones already there.
func (e *engine) checkMemory(more, have int64) *Error {
	if !e.req.Store.InMemory() {
		return nil
	}
	available, err := e.req.MemAvailable()
	if err != nil {
		e.req.Log.Warn(fmt.Sprintf("%s: cannot tell the memory available: %v", e.req.What, err))
		return nil
	}
	if more <= available-memoryMargin {
		return nil
	}
	what := fmt.Sprintf("the image needs %d MiB of memory and %d MiB besides", mib(more), memoryMargin>>20)
	if have > 0 {
		what = fmt.Sprintf("the image needs more than %d MiB of memory and %d MiB besides", mib(have+more), memoryMargin>>20)
	}
	return newError(fatal, "no-memory", nil, "%s, %d MiB are available: add memory to the machine or make the image smaller",
		what, (available+have)>>20)
}

// storeError is a failure to keep the image: no mirror can help.
func storeError(err error) *Error {
	var own *Error
	switch {
	case errors.As(err, &own):
		return own
	case errors.Is(err, unix.ENOMEM):
		return newError(fatal, "no-memory", err, "the image does not fit: %v", err)
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT), errors.Is(err, unix.EFBIG):
		return newError(fatal, "no-space", err, "the image does not fit: %v", err)
	}
	return newError(fatal, "store", err, "cannot keep the image: %v", err)
}
