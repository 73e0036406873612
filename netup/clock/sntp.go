// Package clock mends a wrong system clock: from a time below which it can't
// be, and from the network's time servers, by SNTP (RFC 4330). Certificates
// are judged by the clock, and machines come up in 1970.
package clock

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"netstage/netup/internal/retry"
)

// Answer is what a time server says.
type Answer struct {
	Server netip.Addr
	// Offset is what the system clock lacks; the server's half of the round
	// trip is taken into account.
	Offset time.Duration
	// RoundTrip is how long the answer took; Offset is no more than that off.
	RoundTrip time.Duration
}

// Dial connects by UDP.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// resend is the pause after which a server is asked once more.
const resend = 500 * time.Millisecond

// Query asks all servers at once, and again until ctx ends, and returns the
// first answer that is authentic: to the question asked, from a server that
// knows the time. An error names what each server did wrong.
func Query(ctx context.Context, dial Dial, servers []netip.Addr) (Answer, error) {
	type result struct {
		Answer
		error
	}
	ctx, cancel := context.WithCancel(ctx)
	results := make(chan result)
	for _, server := range servers {
		go func() {
			answer, err := ask(ctx, dial, server)
			if err != nil {
				err = fmt.Errorf("%s: %w", server, err)
			}
			results <- result{answer, err}
		}()
	}
	var answer Answer
	errs := []error{errors.New("no time server answers")}
	for range servers { // each ends soon after ctx
		r := <-results
		switch {
		case r.error != nil:
			errs = append(errs, r.error)
		case !answer.Server.IsValid():
			answer = r.Answer
			cancel()
		}
	}
	cancel()
	if !answer.Server.IsValid() {
		return Answer{}, errors.Join(errs...)
	}
	return answer, nil
}

// ask asks one server until it answers or ctx ends.
func ask(ctx context.Context, dial Dial, server netip.Addr) (Answer, error) {
	conn, err := dial(ctx, "udp", net.JoinHostPort(server.String(), "123"))
	if err != nil {
		return Answer{}, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	last := errors.New("silent")
	for ctx.Err() == nil {
		var request [packetSize]byte
		request[0] = 4<<3 | modeClient
		// Anything that nobody can guess does for our time of sending, and does
		// not tell what clock we have.
		rand.Read(request[transmitted:])
		sent := time.Now()
		if _, err := conn.Write(request[:]); err != nil {
			last = err // refused: the port answered an earlier packet so
		}
		conn.SetReadDeadline(sent.Add(resend))
		for {
			var b [256]byte
			n, err := conn.Read(b[:])
			received := time.Now()
			if err != nil {
				var timeout net.Error
				if !errors.As(err, &timeout) || !timeout.Timeout() {
					last = err
					_ = retry.Pause(ctx, time.Until(sent.Add(resend)))
				}
				break
			}
			t2, t3, err := parse(b[:n], [8]byte(request[transmitted:]))
			if errors.Is(err, errRefused) {
				return Answer{}, err
			}
			if err != nil {
				last = err
				continue
			}
			trip := received.Sub(sent)
			// The clock may be set meanwhile, the monotonic one is not.
			sentAt := sent.Round(0)
			offset := (t2.Sub(sentAt) + t3.Sub(sentAt.Add(trip))) / 2
			return Answer{Server: server, Offset: offset, RoundTrip: trip}, nil
		}
	}
	return Answer{}, last
}

// The parts of a packet that matter (RFC 4330, section 4).
const (
	packetSize  = 48
	originated  = 24 // our transmit time, as we gave it
	receivedAt  = 32
	transmitted = 40

	modeClient, modeServer = 3, 4
)

// errRefused is a kiss-o'-death packet: that server wants no more questions
// (RFC 4330, section 8).
var errRefused = errors.New("it refuses")

// parse returns when a server got our request and when it sent its answer.
// origin is what we put into the request.
func parse(b []byte, origin [8]byte) (t2, t3 time.Time, err error) {
	switch {
	case len(b) < packetSize:
		err = fmt.Errorf("an answer of %d bytes, want %d", len(b), packetSize)
	case b[0]&7 != modeServer || b[0]>>3&7 < 3 || b[0]>>3&7 > 4:
		err = errors.New("no answer of a time server")
	case [8]byte(b[originated:]) != origin:
		err = errors.New("an answer to a question that was not asked")
	case b[1] == 0:
		err = fmt.Errorf("%w, %q", errRefused, b[12:16])
	case b[1] > 15 || b[0]>>6 == 3:
		err = errors.New("it does not know the time itself")
	case binary.BigEndian.Uint64(b[transmitted:]) == 0:
		err = errors.New("an answer without a time")
	}
	if err != nil {
		return
	}
	return ntpTime(b[receivedAt:]), ntpTime(b[transmitted:]), nil
}

// ntpTime reads a timestamp: seconds since 1900, or since 2036 where the
// highest bit is clear (RFC 4330, section 3).
func ntpTime(b []byte) time.Time {
	const to1970, era = 2208988800, 1 << 32
	seconds := int64(binary.BigEndian.Uint32(b)) - to1970
	if b[0] < 0x80 {
		seconds += era
	}
	nanos := uint64(binary.BigEndian.Uint32(b[4:])) * 1e9 >> 32
	return time.Unix(seconds, int64(nanos))
}
