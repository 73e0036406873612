// Package netup brings the network up in an initrd: every physical link at
// once, DHCP on each link the moment it has carrier, and the first lease that
// proves a path wins. It takes plain values and knows no command line.
//
// The order of events for one link is: found, set up, carrier, DHCP, addresses
// and routes in the kernel, proof of a path, won. Everything is driven by
// rtnetlink notifications; no state is polled.
package netup
