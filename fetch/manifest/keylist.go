package manifest

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"netstage/stage1/fault"
)

// KeyLists stands for the name of a manifest where serials are kept by name:
// no manifest of version 2 has it.
const KeyLists = ""

// listKind is the type of a key list.
const listKind = "netstage-keys"

// A KeyList replaces keys without a new initrd: the keys of the initrd sign it,
// and those that it names then sign manifests.
type KeyList struct {
	Type     string    `json:"type"`
	Version  int       `json:"version"`
	Critical []string  `json:"critical,omitempty"`
	Serial   uint64    `json:"serial"` // grows with every list
	Created  time.Time `json:"created"`
	NotAfter time.Time `json:"not_after,omitzero"`
	// Threshold is how many of the keys have to sign a manifest.
	Threshold int         `json:"threshold"`
	Keys      []ListedKey `json:"keys"`
}

// ListedKey is a public key, as the second line of minisign's file has it.
type ListedKey struct {
	Name string `json:"name"`
	Key  string `json:"key"`
}

// listFields are the fields of a list that may be critical.
var listFields = []string{"type", "version", "critical", "serial", "created", "not_after", "threshold", "keys"}

// mostKeys bounds a list.
const mostKeys = 64

// NewKeyList makes a list.
func NewKeyList(keys Keys, threshold int, serial uint64, created time.Time) KeyList {
	l := KeyList{Type: listKind, Version: 1, Serial: serial, Created: created, Threshold: threshold}
	for _, k := range keys {
		l.Keys = append(l.Keys, ListedKey{k.Name, k.public.String()})
	}
	return l
}

// ParseKeyList reads a list, and the keys in it. It says nothing about who
// wrote it.
func ParseKeyList(b []byte) (*KeyList, Keys, error) {
	if len(b) > Most {
		return nil, nil, refuse(fault.Manifest, "a key list of %d bytes, at most %d", len(b), Most)
	}
	var l KeyList
	if err := json.Unmarshal(b, &l); err != nil {
		return nil, nil, refuse(fault.Manifest, "key list: %v", err)
	}
	keys, err := l.check()
	if err != nil {
		return nil, nil, err
	}
	return &l, keys, nil
}

// Marshal writes a list as it is to be signed.
func (l *KeyList) Marshal() ([]byte, error) {
	if _, err := l.check(); err != nil {
		return nil, err
	}
	return indent(l)
}

func (l *KeyList) check() (Keys, error) {
	if l.Type != listKind {
		return nil, refuse(fault.Manifest, "it is of type %q, not a key list", l.Type)
	}
	for _, field := range l.Critical {
		if !slices.Contains(listFields, field) {
			return nil, refuse(fault.Manifest, "key list: field %q is critical, and not known to this version", field)
		}
	}
	switch {
	case l.Version != 1:
		return nil, refuse(fault.Manifest, "key list: version %d of the format: this version knows 1", l.Version)
	case l.Serial == 0 || l.Serial > mostSerial:
		return nil, refuse(fault.Manifest, "key list: the serial is %d: want 1 to %d", l.Serial, uint64(mostSerial))
	case len(l.Keys) > mostKeys:
		return nil, refuse(fault.Manifest, "key list: %d keys, %d are the most", len(l.Keys), mostKeys)
	}
	if err := checkTimes(l.Created, time.Time{}, l.NotAfter); err != nil {
		return nil, err
	}
	var keys Keys
	for _, listed := range l.Keys {
		k := Key{Name: listed.Name}
		if err := k.public.UnmarshalText([]byte(listed.Key)); err != nil || strings.ContainsAny(listed.Name, "\r\n") {
			return nil, refuse(fault.Manifest, "key list: key %q is none: %v", listed.Name, err)
		}
		if slices.ContainsFunc(keys, k.Equal) {
			return nil, refuse(fault.Manifest, "key list: key %q is named twice", listed.Name)
		}
		keys = append(keys, k)
	}
	if l.Threshold < 1 || l.Threshold > len(keys) {
		return nil, refuse(fault.Manifest, "key list: %d of %d keys have to sign", l.Threshold, len(keys))
	}
	return keys, nil
}
