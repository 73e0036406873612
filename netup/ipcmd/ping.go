package ipcmd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"
)

const pingUsage = "usage: ping [-4|-6] [-c COUNT] [-i SECONDS] [-W SECONDS] [-s BYTES] HOST\n"

// PingOptions says whom to ping and how; zero values are ping's defaults.
type PingOptions struct {
	Host     string
	Network  string        // "ip", "ip4" or "ip6"; "ip" when empty
	Count    int           // 0: until ctx ends
	Interval time.Duration // between two requests; 1 s when zero
	Wait     time.Duration // for one answer; 1 s when zero
	Size     int           // bytes of payload; 56 when zero
	Resolver *net.Resolver // the system's when nil
}

// PingStats is what came of it.
type PingStats struct{ Sent, Received int }

// PingMain runs ping with the arguments that follow its name and returns the
// exit status: 0 when anything answered, 1 when nothing did, 2 for other
// errors.
func PingMain(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parsePing(args)
	if err != nil {
		if !errors.Is(err, errUsage) || err != errUsage {
			fmt.Fprintf(stderr, "ping: %v\n", err)
		}
		io.WriteString(stderr, pingUsage)
		return 2
	}
	st, err := Ping(ctx, o, stdout)
	if err != nil {
		fmt.Fprintf(stderr, "ping: %v\n", err)
		return 2
	}
	if st.Received == 0 {
		return 1
	}
	return 0
}

// setNumber sets the option that has a number.
func (o *PingOptions) setNumber(option, value string) error {
	f, err := strconv.ParseFloat(value, 64)
	if err != nil || f < 0 || f > 65000 {
		return fmt.Errorf("%w: %s %q is no fitting number", errUsage, option, value)
	}
	switch option {
	case "-c":
		o.Count = int(f)
	case "-i":
		o.Interval = time.Duration(f * float64(time.Second))
	case "-W":
		o.Wait = time.Duration(f * float64(time.Second))
	case "-s":
		o.Size = int(f)
	}
	return nil
}

// parsePing reads ping's words.
func parsePing(args []string) (PingOptions, error) {
	var o PingOptions
	for len(args) > 0 {
		a := args[0]
		args = args[1:]
		switch a {
		case "-4":
			o.Network = "ip4"
		case "-6":
			o.Network = "ip6"
		case "-c", "-i", "-W", "-s":
			if len(args) == 0 {
				return o, fmt.Errorf("%w: %s needs a number", errUsage, a)
			}
			if err := o.setNumber(a, args[0]); err != nil {
				return o, err
			}
			args = args[1:]
		default:
			if o.Host != "" || len(a) > 0 && a[0] == '-' {
				return o, fmt.Errorf("%w: %q not understood", errUsage, a)
			}
			o.Host = a
		}
	}
	if o.Host == "" {
		return o, errUsage
	}
	return o, nil
}

// Ping sends echo requests over a raw socket, which needs root, and prints a
// line for each answer, then a summary. Losses are no error.
func Ping(ctx context.Context, o PingOptions, out io.Writer) (PingStats, error) {
	var st PingStats
	o = o.withDefaults()
	ips, err := o.Resolver.LookupNetIP(ctx, o.Network, o.Host)
	if err != nil {
		return st, err
	}
	p, err := newPinger(ips[0].Unmap(), o.Size)
	if err != nil {
		return st, fmt.Errorf("%s: %w", o.Host, err)
	}
	defer p.conn.Close()
	stop := context.AfterFunc(ctx, func() { p.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	fmt.Fprintf(out, "PING %s (%s): %d bytes\n", o.Host, p.addr, o.Size)
	for seq := 0; ctx.Err() == nil && (o.Count == 0 || seq < o.Count); seq++ {
		start := time.Now()
		st.Sent++
		n, err := p.once(ctx, seq, start.Add(o.Wait))
		switch {
		case err == nil:
			st.Received++
			fmt.Fprintf(out, "%d bytes from %s: seq=%d time=%.3f ms\n", n, p.addr, seq, float64(time.Since(start).Microseconds())/1000)
		case ctx.Err() != nil:
			st.Sent--
		case !errors.Is(err, os.ErrDeadlineExceeded):
			fmt.Fprintf(out, "seq=%d: %v\n", seq, err)
		}
		if o.Count != 0 && seq == o.Count-1 {
			break
		}
		select {
		case <-time.After(time.Until(start.Add(o.Interval))):
		case <-ctx.Done():
		}
	}
	lost := 0
	if st.Sent > 0 {
		lost = 100 * (st.Sent - st.Received) / st.Sent
	}
	fmt.Fprintf(out, "%d sent, %d received, %d%% lost\n", st.Sent, st.Received, lost)
	return st, nil
}

// withDefaults sets what the caller leaves open.
func (o PingOptions) withDefaults() PingOptions {
	if o.Interval <= 0 {
		o.Interval = time.Second
	}
	if o.Wait <= 0 {
		o.Wait = time.Second
	}
	if o.Size <= 0 {
		o.Size = 56
	}
	if o.Network == "" {
		o.Network = "ip"
	}
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	return o
}

// pinger is a raw ICMP socket and the words of the address's family.
type pinger struct {
	conn           net.PacketConn
	addr           netip.Addr
	id             uint16
	size           int
	request, reply byte
}

func newPinger(addr netip.Addr, size int) (*pinger, error) {
	p := &pinger{addr: addr, id: uint16(os.Getpid()), size: size, request: 8, reply: 0} // RFC 792
	network := "ip4:icmp"
	if addr.Is6() {
		network, p.request, p.reply = "ip6:ipv6-icmp", 128, 129 // RFC 4443
	}
	var err error
	p.conn, err = net.ListenPacket(network, "")
	return p, err
}

// once sends one request and waits for its answer; it returns the answer's
// length.
func (p *pinger) once(ctx context.Context, seq int, deadline time.Time) (int, error) {
	if err := p.conn.SetDeadline(deadline); err != nil {
		return 0, err
	}
	if ctx.Err() != nil { // its deadline may have been set before ours
		return 0, ctx.Err()
	}
	if _, err := p.conn.WriteTo(p.echo(seq), &net.IPAddr{IP: p.addr.AsSlice(), Zone: p.addr.Zone()}); err != nil {
		return 0, err
	}
	buf := make([]byte, 65536)
	for {
		n, from, err := p.conn.ReadFrom(buf)
		if err != nil {
			return 0, err
		}
		ip, ok := from.(*net.IPAddr)
		if ok && ip.IP.Equal(p.addr.AsSlice()) && p.answers(buf[:n], seq) {
			return n, nil
		}
	}
}

func (p *pinger) echo(seq int) []byte {
	b := make([]byte, 8+p.size)
	b[0] = p.request
	binary.BigEndian.PutUint16(b[4:], p.id)
	binary.BigEndian.PutUint16(b[6:], uint16(seq))
	if p.addr.Is4() { // the kernel sums ICMPv6 itself
		binary.BigEndian.PutUint16(b[2:], checksum(b))
	}
	return b
}

func (p *pinger) answers(b []byte, seq int) bool {
	return len(b) >= 8 && b[0] == p.reply &&
		binary.BigEndian.Uint16(b[4:]) == p.id && binary.BigEndian.Uint16(b[6:]) == uint16(seq)
}

// checksum is the internet checksum (RFC 1071).
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
