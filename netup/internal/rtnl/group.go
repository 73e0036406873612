package rtnl

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"net/netip"
	"os"
	"strconv"
	"time"
)

// groupLimit is how long the kernel is waited for; it mostly takes a
// millisecond, and no longer than what is to be avoided.
const groupLimit = time.Second

// awaitGroup waits until a link hears who asks for a new IPv6 address of its.
// The kernel joins the address's solicited-node group some time after it took
// the address (net/ipv6/addrconf.c, addrconf_dad_work); a neighbour whose
// question comes before that asks again after a second.
func awaitGroup(index int, addr netip.Addr) {
	group := netip.MustParseAddr("ff02::1:ff00:0").As16()
	a := addr.As16()
	copy(group[13:], a[13:])
	for end := time.Now().Add(groupLimit); !joined(index, group) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}

// joined tells whether a link is in an IPv6 multicast group, true where that
// is not known.
func joined(index int, group [16]byte) bool {
	text, err := os.ReadFile("/proc/thread-self/net/igmp6")
	if err != nil {
		return true
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		fields := bytes.Fields(lines.Bytes())
		if len(fields) > 2 && string(fields[0]) == strconv.Itoa(index) && string(fields[2]) == hex.EncodeToString(group[:]) {
			return true
		}
	}
	return false
}
