package dhcp4

import (
	"bytes"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// overloaded is an ACK whose fields file and sname hold options, by value of
// option 52.
func overloaded(value byte) []byte {
	b := ack(dhcpv4.WithGeneric(dhcpv4.OptionOptionOverload, []byte{value})).ToBytes()
	copy(b[fileAt:], []byte{67, 6, 'a', '.', 'i', 'p', 'x', 'e', 0, 0, 6, 4, 10, 0, 0, 7, 255})
	copy(b[snameAt:], []byte{66, 4, 't', 'f', 't', 'p', 6, 4, 10, 0, 0, 8, 255})
	return b
}

func TestMergeOverload(t *testing.T) {
	for value, want := range map[byte][]string{
		1: {"a.ipxe", "B\x04tftp\x06\x04\n", "10.0.0.7"}, 2: {"C\x06a.ipxe", "tftp", "10.0.0.8"}, 3: {"a.ipxe", "tftp", "10.0.0.7 10.0.0.8"},
	} {
		m, err := dhcpv4.FromBytes(mergeOverload(overloaded(value)))
		if err != nil {
			t.Fatal(err)
		}
		l, err := Parse(m)
		if err != nil {
			t.Fatal(err)
		}
		var dns []string
		for _, a := range l.DNS {
			dns = append(dns, a.String())
		}
		// A field that holds no options is what it always was, here of bytes
		// that no name has.
		if value&1 != 0 && l.BootFile != want[0] || value&2 != 0 && l.NextName != want[1] || value&1 == 0 && l.BootFile != "" || value&2 == 0 && l.NextName != "" ||
			strings.Join(dns, " ") != want[2] {
			t.Errorf("overload %d: boot file %q, server %q, dns %v", value, l.BootFile, l.NextName, dns)
		}
	}
	for name, b := range map[string][]byte{"none": ack().ToBytes(), "0": overloaded(0), "cut short": overloaded(3)[:100]} {
		if !bytes.Equal(mergeOverload(b), b) {
			t.Errorf("%s: changed", name)
		}
	}
	broken := overloaded(3)
	copy(broken[fileAt:cookieAt], bytes.Repeat([]byte{7}, cookieAt-fileAt))
	if !bytes.Equal(mergeOverload(broken), broken) {
		t.Error("a field without an end is unfolded")
	}
}

func FuzzMergeOverload(f *testing.F) {
	f.Add(overloaded(3))
	f.Add(overloaded(1))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		out := mergeOverload(b)
		if !bytes.Equal(b, before) {
			t.Error("the message is changed in place")
		}
		if len(out) > len(b)+192+1 {
			t.Errorf("%d bytes of %d", len(out), len(b))
		}
		if len(out) >= optionsAt && !bytes.Equal(out, b) {
			if _, overload, ok := optionsOf(out[optionsAt:]); !ok || overload != 0 {
				t.Error("still overloaded")
			}
		}
	})
}
