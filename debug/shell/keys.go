package shell

import (
	"context"
	"os"
)

// keyReader gives one byte at a time and remembers the last.
type keyReader struct {
	ctx  context.Context
	in   *os.File
	last byte
	keys keys
}

func (k *keyReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if b, ok := k.keys.next(); ok {
			k.last, p[0] = b, b
			return 1, nil
		}
		b, err := readByte(k.ctx, k.in)
		if err != nil {
			k.last = 0
			return 0, err
		}
		k.keys.add(b)
	}
}

// keys translates what terminals send for Home, End and the arrows into the one
// form of each that the line editor knows, which is xterm's: the kernel's own
// terminal and a vt220 send others, and any does in its application mode.
type keys struct {
	held []byte // the beginning of an escape sequence
	out  []byte
}

const escape = 0x1b

// others are sequences after ESC, and what they are translated into.
var others = map[string]string{
	"[1~": "[H", "[7~": "[H", "OH": "[H", "[4~": "[F", "[8~": "[F", "OF": "[F",
	"OA": "[A", "OB": "[B", "OC": "[C", "OD": "[D",
}

func (k *keys) next() (byte, bool) {
	if len(k.out) == 0 {
		return 0, false
	}
	b := k.out[0]
	k.out = k.out[1:]
	return b, true
}

// add takes a byte, and holds it back while it may belong to a sequence that
// has another form. A control key ends a sequence that was not one: Esc, then
// Ctrl-C, is Ctrl-C.
func (k *keys) add(b byte) {
	if b < ' ' {
		k.held = nil
	}
	k.held = append(k.held, b)
	if k.held[0] == escape && len(k.held) > 1 {
		if other, ok := others[string(k.held[1:])]; ok {
			k.held = append(k.held[:1], other...)
		} else if k.beginning() {
			return
		}
	} else if b == escape {
		return
	}
	k.out, k.held = append(k.out, k.held...), nil
}

// beginning tells whether what is held may become one of the others.
func (k *keys) beginning() bool {
	for other := range others {
		if len(other) >= len(k.held) && other[:len(k.held)-1] == string(k.held[1:]) {
			return true
		}
	}
	return false
}
