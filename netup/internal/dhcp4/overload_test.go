package dhcp4

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

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
		m, err := dhcpv4.FromBytes(first(normalise(overloaded(value), netip.Addr{})))
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
}

func first[A, B any](a A, _ B) A { return a }

// A message that is not as the RFC has it is taken for what it surely means.
func TestNormalise(t *testing.T) {
	source := netip.MustParseAddr("10.0.0.1")
	cut := func(b []byte, n int) []byte { return b[:len(b)-n] }
	without := func(code dhcpv4.OptionCode) []byte { return ack(dhcpv4.WithoutOption(code)).ToBytes() }
	end := func(b []byte) []byte { return b[:bytes.LastIndexByte(b, 255)] }
	siaddr := ack(dhcpv4.WithoutOption(dhcpv4.OptionServerIdentifier), dhcpv4.WithServerIP([]byte{10, 0, 0, 3})).ToBytes()
	bootp := ack().ToBytes()[:optionsAt]
	clear(bootp[cookieAt:])
	for _, c := range []struct {
		name   string
		b      []byte
		server string
		passed string // what is told, "" is nothing
	}{
		{"as it should be", ack().ToBytes(), "10.0.0.1", ""},
		{"no end", end(ack().ToBytes()), "10.0.0.1", ""},
		{"zeros for an end", append(end(ack().ToBytes()), 0, 0, 0, 0), "10.0.0.1", ""},
		{"cut at the very end", append(end(ack().ToBytes()), 6, 8, 10, 0, 0, 1), "10.0.0.1", "option 6 is cut short"},
		{"a code alone at the end", append(end(ack().ToBytes()), 6), "10.0.0.1", "option 6 is cut short"},
		{"no option 54", without(dhcpv4.OptionServerIdentifier), "10.0.0.1", "no server identifier"},
		{"no option 54, next server", siaddr, "10.0.0.3", "no server identifier"},
		{"BOOTP", bootp, "invalid IP", ""},
		{"BOOTP with options", without(dhcpv4.OptionDHCPMessageType), "10.0.0.1", ""},
		{"all twice", slices.Concat(end(ack().ToBytes()), ack().ToBytes()[optionsAt:]), "10.0.0.1", "option 54 comes again"},
		{"another server identifier", append(end(ack().ToBytes()), optServerID, 4, 10, 0, 0, 9, 255), "10.0.0.1", "option 54 comes again"},
		{"padded", append(ack().ToBytes(), make([]byte, 300)...), "10.0.0.1", ""},
		{"huge", append(append(end(ack().ToBytes()), bytes.Repeat([]byte{224, 255}, 1)...), bytes.Repeat([]byte{7}, 900)...), "10.0.0.1", "is cut short"},
		{"file without an end", overloadedWithoutEnd(), "10.0.0.1", "in the field file: option 7 is cut short"},
	} {
		b, passed := normalise(c.b, source)
		m, err := dhcpv4.FromBytes(b)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		l, err := Parse(m)
		if err != nil || l.Server.String() != c.server || l.Addr.Addr().String() != "10.0.0.9" || !l.OffLink() && l.Source != "bootp" || l.Source == "dhcp" && l.Time != time.Hour {
			t.Errorf("%s: %v %+v", c.name, err, l)
		}
		if told := strings.Join(passed, "; "); (told == "") != (c.passed == "") || !strings.Contains(told, c.passed) {
			t.Errorf("%s: told %q", c.name, told)
		}
	}
	for name, b := range map[string][]byte{"nothing": nil, "short": cut(ack().ToBytes()[:cookieAt], 1), "a client's": append([]byte{1}, ack().ToBytes()[1:]...)} {
		if got, _ := normalise(b, source); !bytes.Equal(got, b) {
			t.Errorf("%s: changed", name)
		}
	}
}

func overloadedWithoutEnd() []byte {
	b := overloaded(3)
	copy(b[fileAt:cookieAt], bytes.Repeat([]byte{7}, cookieAt-fileAt))
	return b
}

func FuzzNormalise(f *testing.F) {
	f.Add(overloaded(3))
	f.Add(overloaded(1))
	f.Add(ack().ToBytes()[:cookieAt])
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		out, _ := normalise(b, netip.MustParseAddr("10.0.0.1"))
		if !bytes.Equal(b, before) {
			t.Error("the message is changed in place")
		}
		if len(out) > len(b)+192+1+6+4 {
			t.Errorf("%d bytes of %d", len(out), len(b))
		}
		if len(b) >= cookieAt && b[0] == 2 {
			if _, overload, short := optionsOf(out[optionsAt:]); short != "" || overload != 0 || out[len(out)-1] != 255 {
				t.Error("not normal")
			}
		}
	})
}
