package attest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"netstage/fetch/manifest"
	"netstage/stage1/efivar"
	"netstage/stage1/fault"
	"netstage/stage1/serials"
	"netstage/stage1/tpm"
)

// Where serials are kept: an index that owners of a TPM may choose (TCG,
// Registry of Reserved TPM 2.0 Handles, 2.2.2), or else a variable of the
// firmware.
const (
	nvIndex  = 0x01a90e57
	variable = "NetstageSerials"
)

// memory is what of a machine remembers.
type memory int

const (
	noMemory memory = iota
	inTPM
	inFirmware
)

func (m memory) String() string {
	return [...]string{"nothing", "the TPM", "the firmware's variables"}[m]
}

// recall asks both: a TPM may be new, or was away for a boot.
func (m *Machine) recall(ctx context.Context) {
	var index, content []byte // each is written by whoever may be left behind
	if m.has() {
		err := m.ask(func(t *tpm.TPM) (err error) { index, err = t.ReadNV(nvIndex); return err })
		m.merge(inTPM, index, err, tpm.ErrNotThere)
	}
	err := efivar.Use(ctx, func(s efivar.Store) (err error) { content, err = s.Read(variable); return err })
	if !errors.Is(err, efivar.ErrNone) {
		m.merge(inFirmware, content, err, fs.ErrNotExist)
	}
}

// merge adds what a memory has.
func (m *Machine) merge(from memory, content []byte, err, empty error) {
	var table serials.Table
	if err == nil {
		table, err = serials.Decode(content)
	}
	switch {
	case err == nil:
		m.serials.Merge(table)
	case !errors.Is(err, empty):
		m.Log.Warn(fmt.Sprintf("rollback: what %v remembers is not known", from), "err", err)
		return
	}
	if m.memory == noMemory {
		m.memory = from
	}
}

// Highest is the highest serial of a name that this machine has booted.
func (m *Machine) Highest(name string) uint64 { return m.serials.Highest(name) }

// Remembers is an error where this machine has nothing to remember in.
func (m *Machine) Remembers() error {
	if m.memory == noMemory {
		return fault.Errorf(fault.Policy, "the initrd wants that replays are refused (rollback), and this machine has neither a TPM nor UEFI to remember serials in")
	}
	return nil
}

// Remember keeps the serials of a manifest and of the list of its keys.
func (m *Machine) Remember(ctx context.Context, name string, serial, list uint64) error {
	if m.memory == noMemory {
		return nil
	}
	raised, full := m.serials.Raise(name, serial)
	listed, fuller := m.serials.Raise(manifest.KeyLists, list)
	if err := errors.Join(full, fuller); err != nil || !raised && !listed {
		return err
	}
	text := m.serials.Encode()
	err := fs.ErrNotExist
	switch m.memory {
	case inTPM:
		err = m.ask(func(t *tpm.TPM) error { return t.WriteNV(nvIndex, text) })
	case inFirmware:
		err = efivar.Use(ctx, func(s efivar.Store) error { return s.Write(variable, text) })
	}
	if err != nil {
		return fmt.Errorf("serial %d of %q is not remembered by %v: %w", serial, name, m.memory, err)
	}
	m.Log.Info(fmt.Sprintf("rollback: %v remembers serial %d of %q", m.memory, serial, name))
	return nil
}
