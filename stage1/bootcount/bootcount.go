// Package bootcount counts failed boots in a row, in the machine's firmware.
package bootcount

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"time"

	"netstage/stage1/efivar"
)

// A machine that nobody watches reboots when it failed, and more slowly the
// more often it did in a row: what it waits for may take hours, and a rack that
// knocks at its server every minute is of no help. Its firmware remembers the
// number, where it is UEFI: one variable of two bytes, written by a boot that
// failed and gave up, not more often than mostDoublings times in a row, and
// deleted by one that succeeds.
const (
	variable      = "NetstageFailedBoots"
	version       = 1
	mostDoublings = 4
)

// RebootDelay is how long a failed boot waits for a key before it reboots:
// base, doubled by every failed one before it, and up to a quarter more, so
// that machines that failed at once don't come back at once. It is zero, for
// ever, where base is.
func RebootDelay(base time.Duration, before int) time.Duration {
	delay := base << min(max(before, 0), mostDoublings)
	if quarter := int64(delay / 4); quarter > 0 {
		delay += time.Duration(rand.Int64N(quarter))
	}
	return delay
}

// A Count is the number of failed boots in a row before this one. The zero
// Count is that of a machine which can't remember.
type Count struct {
	Before int
	known  bool
}

// Words says which failed boot in a row this one is; "" for the first, and
// where it is not known.
func (c Count) Words() string {
	switch {
	case c.Before == 0:
		return ""
	case c.Before >= mostDoublings:
		return fmt.Sprintf("failed boot %d in a row, or more", c.Before+1)
	}
	return fmt.Sprintf("failed boot %d in a row", c.Before+1)
}

// Recall asks the firmware.
func Recall(ctx context.Context) (Count, error) {
	var c Count
	err := withFirmware(ctx, func(store efivar.Store) error {
		content, err := store.Read(variable)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			c.known = true
			return nil
		case err != nil:
			return err
		case len(content) != 2 || content[0] != version:
			return fmt.Errorf("EFI variable %s is not understood: %x", variable, content)
		}
		c = Count{Before: min(int(content[1]), mostDoublings), known: true}
		return nil
	})
	if err != nil {
		return Count{}, err
	}
	return c, nil
}

// Grow remembers one failed boot more. Where that changes nothing any more,
// and where nothing is remembered, nothing is written.
func (c Count) Grow(ctx context.Context) error {
	if !c.known || c.Before >= mostDoublings {
		return nil
	}
	return withFirmware(ctx, func(store efivar.Store) error {
		return store.Write(variable, []byte{version, byte(c.Before + 1)})
	})
}

// Forget is for a boot that succeeds.
func (c Count) Forget(ctx context.Context) error {
	if c.Before == 0 {
		return nil
	}
	return withFirmware(ctx, func(store efivar.Store) error { return store.Delete(variable) })
}

// withFirmware lets do look at the firmware's variables. A machine without such
// a firmware is no error.
func withFirmware(ctx context.Context, do func(efivar.Store) error) error {
	err := efivar.Use(ctx, do)
	if errors.Is(err, efivar.ErrNone) {
		return nil
	}
	return err
}
