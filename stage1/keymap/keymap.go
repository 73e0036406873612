// Package keymap loads the keys of the kernel's consoles, for who has to type a
// password there.
package keymap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The form of "loadkeys -b" (kbd: src/libkeymap/dump.c, BusyBox: loadkmap):
// a word, a byte for each map whether it is there, and those, of two bytes for
// every key.
const (
	magic = "bkeymap"
	maps  = 256
	keys  = 128
)

// An Entry is what a key means with a combination of Shift, Control and others:
// struct kbentry of linux/kd.h.
type Entry struct {
	Map, Key uint8
	Value    uint16
}

// Parse reads a key map.
func Parse(text []byte) ([]Entry, error) {
	rest, ok := bytes.CutPrefix(text, []byte(magic))
	if !ok {
		return nil, errors.New("no key map of loadkeys -b")
	}
	if len(rest) < maps {
		return nil, errors.New("the key map is cut short")
	}
	there, rest := rest[:maps], rest[maps:]
	var entries []Entry
	for m := range maps {
		if there[m] == 0 {
			continue
		}
		if len(rest) < 2*keys {
			return nil, errors.New("the key map is cut short")
		}
		for k := range keys {
			entries = append(entries, Entry{uint8(m), uint8(k), binary.NativeEndian.Uint16(rest[2*k:])})
		}
		rest = rest[2*keys:]
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes after the key map", len(rest))
	}
	return entries, nil
}

// setEntry is KDSKBENT of linux/kd.h.
const setEntry = 0x4B47

// Load gives the map of a file to the consoles of the kernel, by any of them.
// Without the file or without such consoles there is nothing to do.
func Load(file, console string) error {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	entries, err := Parse(text)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	tty, err := os.OpenFile(console, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil // a machine that has serial lines only
	}
	defer tty.Close()
	for _, e := range entries {
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, tty.Fd(), setEntry, uintptr(unsafe.Pointer(&e))); errno != 0 {
			return fmt.Errorf("key %d of map %d of %s: %w", e.Key, e.Map, file, errno)
		}
	}
	return nil
}
