package ipparam_test

import (
	"fmt"

	"netstage/netup/ipparam"
)

func ExampleParse() {
	c, err := ipparam.Parse(ipparam.Params{
		IP:     []string{"10.0.0.5::10.0.0.1:255.255.255.0:node7:eth0:none"},
		BootIF: []string{"01-52-54-00-12-34-56"},
	})
	fmt.Println(c.Entries[0].Link, c.Entries[0].Method, c.Entries[0].Addr, c.Entries[0].Gateway, err)
	fmt.Println(c.BootMAC)

	_, err = ipparam.Parse(ipparam.Params{IP: []string{"eth0:dhpc"}})
	fmt.Println(err)
	// Output:
	// eth0 static 10.0.0.5/24 10.0.0.1 <nil>
	// 52:54:00:12:34:56
	// ip=eth0:dhpc: client-ip "eth0": expected an IPv4 address, or an IPv6 address in brackets
}
