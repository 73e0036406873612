// Package efivar keeps small variables in a machine's firmware, by the
// kernel's efivarfs (Documentation/filesystems/efivarfs.rst). The kernel
// refuses writes that would fill a firmware's storage, which has bricked
// machines (arch/x86/platform/efi/quirks.c, efi_query_variable_store).
package efivar

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"netstage/mount"
)

// vendor is the namespace of this program's variables.
const vendor = "a901e0fa-96a1-46d4-9abd-6f1ead6cb856"

// attributes: non-volatile, accessible at boot and at run time (UEFI, 8.2).
const attributes = 0x7

// immutable is FS_IMMUTABLE_FL of linux/fs.h.
const immutable = 0x10

// most is how much of a variable is read, and may be written.
const most = 512

// firmwareTime is how long a firmware may take: it lists all its variables.
const firmwareTime = 10 * time.Second

// ErrNone says that the firmware has no variables.
var ErrNone = errors.New("this machine was not started by UEFI")

// Use lets do look at the firmware's variables, which are mounted nowhere
// meanwhile. The error is ErrNone on a machine without such a firmware. A call
// into a firmware that hangs can't be ended: it is left behind.
func Use(ctx context.Context, do func(Store) error) error {
	if _, err := os.Stat("/sys/firmware/efi"); err != nil {
		return ErrNone
	}
	done := make(chan error, 1)
	go func() {
		tree, err := mount.Mount{Type: "efivarfs", Source: "efivarfs", Options: "nosuid,nodev,noexec"}.Open()
		if err == nil {
			err = do(Store(tree.Path()))
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

// A Store is a directory where an efivarfs is mounted.
type Store string

func (s Store) path(name string) string { return filepath.Join(string(s), name+"-"+vendor) }

// Read returns the content of a variable. An error wraps fs.ErrNotExist where
// there is none.
func (s Store) Read(name string) ([]byte, error) {
	file, err := os.Open(s.path(name))
	if err != nil {
		return nil, fmt.Errorf("EFI variable: %w", err)
	}
	defer file.Close()
	content := make([]byte, 4+most+1)
	n, err := file.Read(content) // one read: the file changes as a whole
	if err != nil || n < 4 || n > 4+most {
		return nil, fmt.Errorf("EFI variable %s: %d bytes read, want 4 to %d: %v", name, n, 4+most, err)
	}
	return content[4:n], nil
}

// Write makes a variable, or replaces its content.
func (s Store) Write(name string, content []byte) error {
	if len(content) > most {
		return fmt.Errorf("EFI variable %s: %d bytes are too many", name, len(content))
	}
	if err := s.mutable(name); err != nil {
		return err
	}
	file, err := os.OpenFile(s.path(name), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("EFI variable: %w", err)
	}
	// One write is one update of the variable.
	_, err = file.Write(append(binary.LittleEndian.AppendUint32(nil, attributes), content...))
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("EFI variable: %w", err)
	}
	return nil
}

// Delete removes a variable. One that isn't there is no error.
func (s Store) Delete(name string) error {
	if err := s.mutable(name); err != nil {
		return err
	}
	if err := os.Remove(s.path(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("EFI variable: %w", err)
	}
	return nil
}

// mutable takes the flag away by which the kernel keeps rm -rf from variables
// that the firmware may need.
func (s Store) mutable(name string) error {
	file, err := os.Open(s.path(name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("EFI variable: %w", err)
	}
	defer file.Close()
	flags, err := unix.IoctlGetInt(int(file.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil || flags&immutable == 0 {
		return nil // what can't have the flag hasn't
	}
	if err := unix.IoctlSetPointerInt(int(file.Fd()), unix.FS_IOC_SETFLAGS, flags&^immutable); err != nil {
		return fmt.Errorf("EFI variable %s: make it mutable: %w", name, err)
	}
	return nil
}
