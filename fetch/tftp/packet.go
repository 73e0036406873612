// Package tftp reads files from TFTP servers (RFC 1350), with the options
// blksize, tsize (RFC 2348, 2349) and windowsize (RFC 7440). It is for the
// smallest set-ups, whose DHCP server is the only server there is.
package tftp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The packets' opcodes.
const (
	opRequest = 1
	opData    = 3
	opAck     = 4
	opError   = 5
	opOptions = 6
)

// Error is what a server answered instead of a file.
type Error struct {
	Code    int // of RFC 1350 and 2347
	Message string
}

// Codes of errors that say something about the file, or about the options asked
// for.
const (
	NotFound        = 1
	AccessViolation = 2
	badOptions      = 8
	unknownTransfer = 5
)

func (e *Error) Error() string { return fmt.Sprintf("TFTP error %d: %s", e.Code, e.Message) }

// options are what both sides agreed on.
type options struct {
	block  int   // bytes
	window int   // blocks
	size   int64 // of the file; -1: not told
}

// plain is what holds without options.
var plain = options{block: 512, window: 1, size: -1}

// request asks for a file as it is, with options unless they are plain.
func request(file string, o options) []byte {
	p := binary.BigEndian.AppendUint16(nil, opRequest)
	add := func(words ...string) {
		for _, w := range words {
			p = append(append(p, w...), 0)
		}
	}
	add(file, "octet")
	if o != plain {
		add("tsize", "0", "blksize", strconv.Itoa(o.block), "windowsize", strconv.Itoa(o.window))
	}
	return p
}

func ack(block uint64) []byte {
	return binary.BigEndian.AppendUint16([]byte{0, opAck}, uint16(block))
}

func failure(code int, text string) []byte {
	return append(append([]byte{0, opError, 0, byte(code)}, text...), 0)
}

// packet is what a server sent.
type packet struct {
	op    int
	block uint16 // of data
	data  []byte
	err   *Error
}

var errMalformed = errors.New("malformed packet")

// parse reads a packet; its data is part of b.
func parse(b []byte) (packet, error) {
	if len(b) < 4 {
		return packet{}, errMalformed
	}
	p := packet{op: int(binary.BigEndian.Uint16(b))}
	number := binary.BigEndian.Uint16(b[2:])
	switch p.op {
	case opData:
		p.block, p.data = number, b[4:]
	case opError:
		text, _, _ := bytes.Cut(b[4:], []byte{0})
		p.err = &Error{int(number), string(text)}
	case opOptions:
		p.data = b[2:]
	default:
		return packet{}, errMalformed
	}
	return p, nil
}

// parseOptions reads what a server accepted of the options asked for.
func parseOptions(b []byte, asked options) (options, error) {
	o := plain
	words := strings.Split(string(b), "\x00")
	if len(words)%2 == 0 || words[len(words)-1] != "" { // each word ends with a zero
		return o, errMalformed
	}
	for i := 0; i+1 < len(words); i += 2 {
		n, err := strconv.ParseUint(words[i+1], 10, 62)
		switch name := strings.ToLower(words[i]); {
		case err != nil:
			return o, fmt.Errorf("option %s is %q", words[i], words[i+1])
		case name == "tsize":
			o.size = int64(n)
		case name == "blksize" && n >= 8 && n <= uint64(asked.block):
			o.block = int(n)
		case name == "windowsize" && n >= 1 && n <= uint64(asked.window):
			o.window = int(n)
		default:
			return o, fmt.Errorf("option %s=%d was not asked for", words[i], n)
		}
	}
	return o, nil
}
