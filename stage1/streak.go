package stage1

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"time"

	"netstage/mount"
	"netstage/stage1/efivar"
)

// A machine that nobody watches reboots when it failed, and more slowly the
// more often it did in a row: what it waits for may take hours, and a rack that
// knocks at its server every minute is of no help. Its firmware remembers the
// number, where it is UEFI: one variable of two bytes, written by a boot that
// failed and gave up, not more often than mostDoublings times in a row, and
// deleted by one that succeeds.
const (
	streakVariable = "NetstageFailedBoots"
	streakVersion  = 1
	mostDoublings  = 4
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

// A Streak is the number of failed boots in a row before this one. The zero
// Streak is that of a machine which can't remember.
type Streak struct {
	Before int
	known  bool
}

// Words says which failed boot in a row this one is; "" for the first, and
// where it is not known.
func (s Streak) Words() string {
	switch {
	case s.Before == 0:
		return ""
	case s.Before >= mostDoublings:
		return fmt.Sprintf("failed boot %d in a row, or more", s.Before+1)
	}
	return fmt.Sprintf("failed boot %d in a row", s.Before+1)
}

// RecallStreak asks the firmware.
func RecallStreak(ctx context.Context) (Streak, error) {
	var s Streak
	err := withFirmware(ctx, func(store efivar.Store) error {
		content, err := store.Read(streakVariable)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			s.known = true
			return nil
		case err != nil:
			return err
		case len(content) != 2 || content[0] != streakVersion:
			return fmt.Errorf("EFI variable %s is not understood: %x", streakVariable, content)
		}
		s = Streak{Before: min(int(content[1]), mostDoublings), known: true}
		return nil
	})
	if err != nil {
		return Streak{}, err
	}
	return s, nil
}

// Grow remembers one failed boot more. Where that changes nothing any more,
// and where nothing is remembered, nothing is written.
func (s Streak) Grow(ctx context.Context) error {
	if !s.known || s.Before >= mostDoublings {
		return nil
	}
	return withFirmware(ctx, func(store efivar.Store) error {
		return store.Write(streakVariable, []byte{streakVersion, byte(s.Before + 1)})
	})
}

// forget is for a boot that succeeds.
func (s Streak) forget(ctx context.Context) error {
	if s.Before == 0 {
		return nil
	}
	return withFirmware(ctx, func(store efivar.Store) error { return store.Delete(streakVariable) })
}

// firmwareTime is how long a firmware may take: it lists all its variables.
const firmwareTime = 10 * time.Second

// withFirmware lets do look at the firmware's variables, which are mounted
// nowhere meanwhile. A machine without such a firmware is no error. A call into
// a firmware that hangs can't be ended: it is left behind.
func withFirmware(ctx context.Context, do func(efivar.Store) error) error {
	if _, err := os.Stat("/sys/firmware/efi"); err != nil {
		return nil
	}
	done := make(chan error, 1)
	go func() {
		tree, err := mount.Mount{Type: "efivarfs", Source: "efivarfs", Options: "nosuid,nodev,noexec"}.Open()
		if err == nil {
			err = do(efivar.Store(tree.Path()))
			tree.Close()
		}
		done <- err
	}()
	ctx, cancel := context.WithTimeoutCause(ctx, firmwareTime, fmt.Errorf("the firmware's variables can't be had within %v", firmwareTime))
	defer cancel()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// recallStreak runs beside the steps: a firmware takes its time. A boot does
// not fail for want of it.
func (b *Boot) recallStreak(ctx context.Context) error {
	streak, err := RecallStreak(ctx)
	if err != nil {
		b.Log.Debug(fmt.Sprintf("failed boots in a row: %v", err))
	}
	b.streak = streak
	return nil
}

// endStreak is part of a boot that succeeds.
func (b *Boot) endStreak(ctx context.Context) {
	if b.streak.Before == 0 {
		return
	}
	b.Log.Info(fmt.Sprintf("this boot succeeds, after %d that failed", b.streak.Before))
	if err := b.streak.forget(ctx); err != nil {
		b.Log.Warn(fmt.Sprintf("failed boots in a row: %v", err))
	}
}
