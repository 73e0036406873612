package clock

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"netstage/debug/sentence"
)

// answers makes the answer of a time server that is off by so much; change may
// spoil it.
func answers(off time.Duration, change func(b []byte)) func([]byte) [][]byte {
	return func(q []byte) [][]byte {
		b := make([]byte, packetSize)
		b[0], b[1] = 4<<3|modeServer, 2
		copy(b[originated:], q[transmitted:])
		putTime(b[receivedAt:], time.Now().Add(off))
		putTime(b[transmitted:], time.Now().Add(off))
		if change != nil {
			change(b)
		}
		return [][]byte{b}
	}
}

func putTime(b []byte, t time.Time) {
	binary.BigEndian.PutUint32(b, uint32(t.Unix()+2208988800))
	binary.BigEndian.PutUint32(b[4:], uint32(uint64(t.Nanosecond())<<32/1e9))
}

// network is a Dial to servers of ours, on real sockets, by the address asked
// for.
func network(t *testing.T, servers map[string]func([]byte) [][]byte) Dial {
	t.Helper()
	at := map[string]string{}
	for address, answer := range servers {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		at[address] = conn.LocalAddr().String()
		var served sync.WaitGroup
		served.Go(func() {
			for {
				b := make([]byte, 100)
				n, from, err := conn.ReadFrom(b)
				if err != nil {
					return
				}
				for _, a := range answer(b[:n]) {
					conn.WriteTo(a, from)
				}
			}
		})
		t.Cleanup(func() {
			conn.Close()
			served.Wait()
		})
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		to, ok := at[strings.TrimSuffix(address, ":123")]
		if !ok {
			return nil, errors.New("no route to host")
		}
		return (&net.Dialer{}).DialContext(ctx, network, to)
	}
}

// A clock of a test, and what it was set to.
type fake struct {
	off  time.Duration
	sets []time.Time
}

func (f *fake) clock() Clock {
	return Clock{
		func() time.Time { return time.Now().Add(f.off) },
		func(t time.Time) error { f.sets = append(f.sets, t); return nil },
	}
}

func logged() (*slog.Logger, *strings.Builder) {
	var b strings.Builder
	return slog.New(sentence.NewHandler(slog.LevelInfo, sentence.To(&b))), &b
}

func silent([]byte) [][]byte { return nil }

// One good server among bad ones sets the clock, and no bad one does.
func TestOnlyAuthenticAnswersCount(t *testing.T) {
	const year = 365 * 24 * time.Hour
	bad := map[string]func([]byte) [][]byte{
		"silent":    silent,
		"forged":    answers(year, func(b []byte) { b[originated] ^= 1 }),
		"refusing":  answers(year, func(b []byte) { b[1] = 0; copy(b[12:], "RATE") }),
		"unsynced":  answers(year, func(b []byte) { b[0] |= 3 << 6 }),
		"stratum":   answers(year, func(b []byte) { b[1] = 16 }),
		"client":    answers(year, func(b []byte) { b[0] = 4<<3 | modeClient }),
		"version":   answers(year, func(b []byte) { b[0] = 2<<3 | modeServer }),
		"timeless":  answers(year, func(b []byte) { clear(b[transmitted:]) }),
		"truncated": func(q []byte) [][]byte { return [][]byte{answers(year, nil)(q)[0][:47]} },
	}
	for name, answer := range bad {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dial := network(t, map[string]func([]byte) [][]byte{"192.0.2.1": answer, "192.0.2.2": answers(time.Hour, nil)})
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			a, err := Query(ctx, dial, []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")})
			if err != nil || a.Server.String() != "192.0.2.2" || (a.Offset-time.Hour).Abs() > a.RoundTrip+time.Millisecond {
				t.Errorf("%+v, %v", a, err)
			}
			ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if a, err := Query(ctx, dial, []netip.Addr{netip.MustParseAddr("192.0.2.1")}); err == nil || !strings.Contains(err.Error(), "192.0.2.1: ") {
				t.Errorf("%+v, %v", a, err)
			}
		})
	}
}

// A lost question or answer is asked for again; a forged answer first does not
// spoil the true one.
func TestLostAndForgedPackets(t *testing.T) {
	var n atomic.Int32
	dial := network(t, map[string]func([]byte) [][]byte{"192.0.2.1": func(q []byte) [][]byte {
		if n.Add(1) == 1 {
			return nil
		}
		forged := answers(time.Hour, func(b []byte) { b[originated] ^= 1 })(q)
		return append(forged, answers(-time.Hour, nil)(q)...)
	}})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	a, err := Query(ctx, dial, []netip.Addr{netip.MustParseAddr("192.0.2.1")})
	if err != nil || (a.Offset+time.Hour).Abs() > a.RoundTrip+time.Millisecond || n.Load() != 2 {
		t.Errorf("%+v, %v, asked %d times", a, err, n.Load())
	}
}

func TestSync(t *testing.T) {
	server := []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	floor := time.Now().Add(-time.Hour)
	for name, test := range map[string]struct {
		off    time.Duration // of the server
		answer bool
		sets   bool
		known  bool
		log    string
	}{
		"wrong":           {24 * time.Hour, true, true, true, "by 192.0.2.1"},
		"right":           {0, true, false, true, "clock: right by 192.0.2.1"},
		"below the floor": {-2 * time.Hour, true, false, false, "before this program was built; it stays"},
		"silent":          {0, false, false, false, "no time server answers"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			servers := map[string]func([]byte) [][]byte{"192.0.2.1": answers(test.off, nil)}
			if !test.answer {
				servers["192.0.2.1"] = silent
			}
			log, lines := logged()
			f := &fake{}
			known := f.clock().Sync(t.Context(), log, network(t, servers), server, floor)
			if known != test.known || (len(f.sets) > 0) != test.sets || !strings.Contains(lines.String(), test.log) {
				t.Errorf("set to %v\n%s", f.sets, lines)
			}
			if test.sets {
				if got := time.Until(f.sets[0]) - test.off; got.Abs() > 30*time.Second {
					t.Errorf("set to %v", f.sets[0])
				}
			}
		})
	}
}

func TestRaise(t *testing.T) {
	log, lines := logged()
	f := &fake{}
	floor := time.Now().Add(-time.Hour)
	if f.clock().Raise(log, floor, "this program was built") || len(f.sets) != 0 || lines.Len() != 0 {
		t.Errorf("a right clock was set: %v", f.sets)
	}
	f.off = -48 * time.Hour
	if !f.clock().Raise(log, floor, "this program was built") || len(f.sets) != 1 || !f.sets[0].Equal(floor) || !strings.Contains(lines.String(), "before this program was built") {
		t.Errorf("%v\n%s", f.sets, lines)
	}
}

// The counter of seconds wraps in February 2036.
func TestEras(t *testing.T) {
	for _, want := range []time.Time{
		time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC), time.Date(2036, 2, 7, 6, 28, 15, 0, time.UTC),
		time.Date(2036, 2, 7, 6, 28, 16, 0, time.UTC), time.Date(2040, 6, 1, 0, 0, 0, 0, time.UTC),
	} {
		var b [8]byte
		putTime(b[:], want)
		if got := ntpTime(b[:]); !got.Equal(want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	q := make([]byte, packetSize)
	f.Add(answers(0, nil)(q)[0])
	f.Fuzz(func(t *testing.T, b []byte) {
		_, t3, err := parse(b, [8]byte{})
		if err == nil && (len(b) < packetSize || b[1] == 0 || t3.Year() < 1968 || t3.Year() > 2104) {
			t.Errorf("%x: %v", b, t3)
		}
	})
}
