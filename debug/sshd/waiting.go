package sshd

import (
	"net"
	"net/netip"
	"sync"
)

// Limits of those who have not logged in yet. The oldest has to go when there
// are too many: who holds a key needs a fraction of a second.
const (
	maxWaiting     = 32
	maxWaitingFrom = 4 // of one address; of a /64 by IPv6
)

// waiting are connections that have not logged in, oldest first.
type waiting struct {
	mu    sync.Mutex
	conns []net.Conn
}

// add takes a connection in, and closes one that is too many.
func (w *waiting) add(conn net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	from, same, first := source(conn), 0, -1
	for i, c := range w.conns {
		if source(c) == from {
			if same++; first < 0 {
				first = i
			}
		}
	}
	switch {
	case same >= maxWaitingFrom:
		w.drop(first)
	case len(w.conns) >= maxWaiting:
		w.drop(0)
	}
	w.conns = append(w.conns, conn)
}

func (w *waiting) drop(i int) {
	w.conns[i].Close()
	w.conns = append(w.conns[:i], w.conns[i+1:]...)
}

// remove is for one that has logged in, or is gone.
func (w *waiting) remove(conn net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, c := range w.conns {
		if c == conn {
			w.conns = append(w.conns[:i], w.conns[i+1:]...)
			return
		}
	}
}

// source is who is at the other end.
func source(conn net.Conn) netip.Prefix {
	addr, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := addr.AddrPort().Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	prefix, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}
