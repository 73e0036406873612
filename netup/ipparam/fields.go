package ipparam

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// split cuts at colons that are not in brackets, as an IPv6 address has them.
func split(s string) ([]string, bool) {
	var out []string
	start, depth := 0, 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '[':
			depth++
		case s[i] == ']':
			depth--
		case s[i] == ':' && depth == 0:
			out = append(out, s[start:i])
			start = i + 1
		}
		if depth < 0 || depth > 1 {
			return nil, false
		}
	}
	return append(out, s[start:]), depth == 0
}

// parseAddr reads an address, IPv6 with or without brackets. A zone has no
// meaning on a command line.
func parseAddr(s string) (netip.Addr, bool) {
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		s = s[1 : len(s)-1]
		if !strings.Contains(s, ":") {
			return netip.Addr{}, false
		}
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, false
	}
	return a.Unmap(), true
}

// parseMask reads a dotted netmask or a prefix length for an address of bits
// bits.
func parseMask(s string, bits int) (int, bool) {
	if n, err := strconv.Atoi(s); err == nil && isDigits(s) {
		return n, n >= 0 && n <= bits
	}
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() || bits != 32 {
		return 0, false
	}
	ones, size := net.IPMask(a.AsSlice()).Size()
	return ones, size == 32
}

// parseNet reads "net/length", "net/netmask" or "default".
func parseNet(s string) (netip.Prefix, bool) {
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		s = s[1 : len(s)-1]
	}
	if s == "default" {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0), true
	}
	addr, mask, cut := strings.Cut(s, "/")
	a, ok := parseAddr(addr)
	if !ok {
		return netip.Prefix{}, false
	}
	if !cut {
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	n, ok := parseMask(mask, a.BitLen())
	if !ok {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, n).Masked(), true
}

// parseMAC reads an Ethernet address with colons or dashes.
func parseMAC(s string) (net.HardwareAddr, bool) {
	if len(s) != 17 {
		return nil, false
	}
	mac := make(net.HardwareAddr, 6)
	for i := range mac {
		n, err := strconv.ParseUint(s[3*i:3*i+2], 16, 8)
		if err != nil || i < 5 && s[3*i+2] != ':' && s[3*i+2] != '-' {
			return nil, false
		}
		mac[i] = byte(n)
	}
	return mac, true
}

// cutPrefix cuts the length of a prefix off an address, in its brackets or
// behind them.
func cutPrefix(s string) (addr, bits string, ok bool) {
	addr, bits, ok = strings.Cut(s, "/")
	if ok && strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		addr, bits = addr+"]", strings.TrimSuffix(bits, "]")
	}
	return addr, bits, ok
}

const wantLink = "a device name of at most 15 characters"

// validLink says whether the kernel would take s for a device's name.
func validLink(s string) bool {
	if s == "" || len(s) > 15 || s == "." || s == ".." {
		return false
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || c == '/' || c == ':' || c == '[' || c == ']' {
			return false
		}
	}
	return true
}

func validHost(s string) bool {
	if len(s) > 253 || s[0] == '-' || s[0] == '.' {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_':
		default:
			return false
		}
	}
	return true
}

func isDigits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}

// classBits is the kernel's guess of a missing netmask; /64 for IPv6.
func classBits(a netip.Addr) int {
	if a.Is6() {
		return 64
	}
	switch b := a.As4()[0]; {
	case b < 128:
		return 8
	case b < 192:
		return 16
	}
	return 24
}
