package netup

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// probeEvery and probeFor say how a leased address is looked for on its link:
	// not before it is used, which would cost a boot a second or two (RFC 5227),
	// but beside. Another host mostly answers while the DHCP server does.
	probeEvery = 250 * time.Millisecond
	probeFor   = 700 * time.Millisecond
	// declines is how often an address is declined in a row. Where all are
	// answered for, as by a router with proxy ARP, the next one is taken.
	declines = 2
)

// conflictError says that another host has an address.
type conflictError struct {
	addr netip.Addr
	mac  net.HardwareAddr
}

func (e *conflictError) Error() string {
	return fmt.Sprintf("dhcp: %s already has the address %s", e.mac, e.addr)
}

// probe looks for another host with an address, beside all else.
type probe struct {
	found chan *conflictError // holds the first
	done  chan struct{}       // closed when it is over
	stop  context.CancelFunc
}

// startProbe asks the link, by ARP, who has an address. It goes on until it has
// found somebody, its time is over or ctx ends.
func startProbe(ctx context.Context, index int, name string, mac net.HardwareAddr, addr netip.Addr, log *slog.Logger) *probe {
	p := &probe{found: make(chan *conflictError, 1), done: make(chan struct{})}
	ctx, p.stop = context.WithTimeout(ctx, probeFor)
	f, err := listenARP(index)
	if err != nil {
		log.Debug(fmt.Sprintf("%s: no look-out for %s: %v", name, addr, err))
		p.stop()
		close(p.done)
		return p
	}
	send := func() {
		if err := sendARP(f, index, mac, addr); err != nil {
			log.Debug(fmt.Sprintf("%s: ARP probe for %s: %v", name, addr, err))
		}
	}
	log.Debug(fmt.Sprintf("%s: ARP probe for %s", name, addr))
	send()
	go func() {
		defer close(p.done)
		defer f.Close()
		defer p.stop()
		stop := context.AfterFunc(ctx, func() { f.SetReadDeadline(time.Unix(1, 0)) })
		defer stop()
		again := time.Now().Add(probeEvery)
		buf := make([]byte, 64)
		for {
			f.SetReadDeadline(again)
			if ctx.Err() != nil {
				return
			}
			n, err := f.Read(buf)
			switch {
			case ctx.Err() != nil:
				return
			case errors.Is(err, os.ErrDeadlineExceeded):
				again = again.Add(probeEvery)
				send()
			case err != nil:
				return
			default:
				if other := holder(buf[:n], addr); other != nil && !slices.Equal(other, mac) && !ours(other) {
					p.found <- &conflictError{addr, other}
					return
				}
			}
		}
	}()
	return p
}

// conflict is what was found so far; nil is nobody, also of a nil probe.
func (p *probe) conflict() *conflictError {
	if p == nil {
		return nil
	}
	select {
	case c := <-p.found:
		return c
	default:
		return nil
	}
}

// end stops a probe, which may be nil, and waits for it.
func (p *probe) end() {
	if p != nil {
		p.stop()
		<-p.done
	}
}

// ours reports whether a hardware address is of this machine: another card on
// the same switch answers for addresses of this one.
func ours(mac net.HardwareAddr) bool {
	nics, err := net.Interfaces()
	return err == nil && slices.ContainsFunc(nics, func(n net.Interface) bool { return slices.Equal(n.HardwareAddr, mac) })
}

// holder is the hardware address of who says, by an ARP packet for Ethernet and
// IPv4 (RFC 826), that it has addr; nil when nobody does. A probe, whose sender
// has no address yet, says nothing: switches send some to count hosts.
func holder(b []byte, addr netip.Addr) net.HardwareAddr {
	if len(b) < 28 || [6]byte(b) != [6]byte{0, 1, 8, 0, 6, 4} || netip.AddrFrom4([4]byte(b[14:])) != addr {
		return nil
	}
	return slices.Clone(net.HardwareAddr(b[8:14]))
}

func networkOrder(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}

// listenARP opens a socket for a link's ARP packets, without their Ethernet
// headers.
func listenARP(index int) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open ARP socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ARP), Ifindex: index}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("bind ARP socket: %w", err)
	}
	return os.NewFile(uintptr(fd), "arp"), nil
}

// sendARP broadcasts a probe (RFC 5227 section 2.1.1).
func sendARP(f *os.File, index int, mac net.HardwareAddr, addr netip.Addr) error {
	m := append([]byte{0, 1, 8, 0, 6, 4, 0, 1}, mac...)
	m = append(m, make([]byte, 10)...) // no address, and no hardware address known
	m = append(m, addr.AsSlice()...)
	to := &unix.SockaddrLinklayer{
		Protocol: networkOrder(unix.ETH_P_ARP), Ifindex: index, Halen: 6, Addr: [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	return onSocket(raw, func(fd int) error { return unix.Sendto(fd, m, 0, to) })
}
