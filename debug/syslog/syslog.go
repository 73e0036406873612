// Package syslog sends the kernel log, and with it the agent's lines, to a
// collector: messages of RFC 5424, a datagram each (RFC 5426).
package syslog

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"netstage/debug/kmsg"
)

// Options say what is sent, and as whose.
type Options struct {
	// Hostname is the machine's; what it can't be is sent as "-".
	Hostname string
	// App is what begins the agent's lines in the kernel log, without ": ". It
	// becomes their APP-NAME.
	App string
	// Dial connects to the collector.
	Dial func(context.Context) (net.Conn, error)
	// Blank takes secrets out of a line; the kernel logs its command line. Nil:
	// there are none.
	Blank func(string) string
	// Since leaves out what was logged before that time since boot.
	Since time.Duration
	// Warn is told, once, that the collector can't be reached.
	Warn func(error)

	// Path is the log; default /dev/kmsg.
	Path string
	// Now and Uptime are the clocks; default time.Now and kmsg.Uptime.
	Now    func() time.Time
	Uptime func() time.Duration
}

// How patient a sender is. Nothing waits for it: a datagram that can't be sent
// is lost, as it may be on its way.
const (
	redial = 2 * time.Second        // between two attempts to find the collector
	rest   = 500 * time.Millisecond // for what is left in the log at the end
	// A collector's socket holds some two hundred datagrams; the kernel has
	// logged a thousand lines when the first lease comes.
	burst, pause = 16, time.Millisecond
	// mostLost is how long a datagram waits for a full network card.
	mostLost = 100 * time.Millisecond
)

// Forward sends the log from its start, and what comes, until ctx ends; then
// what is left in it. The end of ctx is no error.
func Forward(ctx context.Context, o Options) error {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Uptime == nil {
		o.Uptime = kmsg.Uptime
	}
	if o.Blank == nil {
		o.Blank = func(s string) string { return s }
	}
	s := sender{Options: o, ctx: ctx}
	if s.conn = s.dial(ctx); s.conn == nil {
		return nil
	}
	defer s.conn.Close()
	if err := kmsg.Tail(ctx, &s, kmsg.TailOptions{Path: o.Path, Follow: true, Raw: true}); err != nil {
		return err
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), rest)
	defer cancel()
	s.ctx = last
	return kmsg.Tail(last, &s, kmsg.TailOptions{Path: o.Path, Raw: true})
}

// dial connects, again and again until ctx ends; nil then.
func (s *sender) dial(ctx context.Context) net.Conn {
	for told := false; ; {
		conn, err := s.Dial(ctx)
		if err == nil {
			return conn
		}
		if ctx.Err() != nil {
			return nil
		}
		if !told {
			s.Warn(err)
			told = true
		}
		select {
		case <-time.After(redial):
		case <-ctx.Done():
			return nil
		}
	}
}

// A sender is given records of the log.
type sender struct {
	Options
	ctx  context.Context
	conn net.Conn
	next uint64 // the record to go on with
	sent int    // messages
}

// Write sends one record as /dev/kmsg gives it, or what kmsg.Tail says of
// records that were lost. It never fails.
func (s *sender) Write(record []byte) (int, error) {
	r, err := kmsg.Parse(record)
	switch {
	case err != nil:
		r = kmsg.Record{Priority: kmsg.PrioWarning, Facility: user, Time: s.Uptime(), Text: s.App + ": " + string(record)}
	case r.Seq < s.next:
		return len(record), nil
	default:
		s.next = r.Seq + 1
	}
	if r.Time < s.Since {
		return len(record), nil
	}
	for line := range strings.Lines(r.Text) {
		if line = kmsg.Clean(strings.TrimRight(line, "\n")); line == "" {
			continue
		}
		s.sent++
		s.conn.SetWriteDeadline(time.Now().Add(mostLost))
		s.conn.Write(s.message(r, line)) // refused, where nobody listens yet
		if s.sent%burst == 0 {
			select {
			case <-time.After(pause):
			case <-s.ctx.Done():
			}
		}
	}
	return len(record), nil
}

// Facilities of RFC 5424, 6.2.1; kmsg.Record has the same numbers.
const (
	user         = 1
	lastFacility = 23
)

// message is a line of a record as RFC 5424 wants it.
//
// The structured data are those of "meta" (RFC 5424, 7.3): the number of the
// message, by which losses show, and the time since boot in hundredths of
// seconds, for machines whose clock is wrong.
func (s *sender) message(r kmsg.Record, line string) []byte {
	facility, app := r.Facility, "-"
	if facility > lastFacility {
		facility = user
	}
	if own, ok := strings.CutPrefix(line, s.App+": "); ok {
		app, line = s.App, own
	} else if facility == 0 {
		app = "kernel"
	}
	at := s.Now().Add(r.Time - s.Uptime()).UTC().Format("2006-01-02T15:04:05.000000Z")
	return fmt.Appendf(nil, "<%d>1 %s %s %s - - [meta sequenceId=\"%d\" sysUpTime=\"%d\"] %s",
		facility<<3|r.Priority, at, hostname(s.Hostname), app, 1+(s.sent-1)%(1<<31-1), r.Time/(10*time.Millisecond), s.Blank(line))
}

// hostname is name, or "-" where it is none: 1 to 255 visible ASCII
// characters.
func hostname(name string) string {
	if name == "" || len(name) > 255 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "-"
	}
	return name
}
