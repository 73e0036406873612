package syslog

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"netstage/debug/kmsg"
)

// form is RFC 5424, 6: the header, one element of structured data, the text.
var form = regexp.MustCompile(`^<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) ([!-~]{1,255}) ([!-~]{1,48}) - - \[meta sequenceId="([1-9]\d{0,9})" sysUpTime="(\d+)"\] ([^\x00-\x1f\x7f]*)$`)

func TestMessage(t *testing.T) {
	noon := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	s := sender{sent: 7, Options: Options{
		Hostname: "node-7", App: "stage-1-init", Now: func() time.Time { return noon }, Uptime: func() time.Duration { return 10 * time.Second },
		Blank: func(s string) string { return strings.ReplaceAll(s, "hunter2", "(blanked)") },
	}}
	for _, test := range []struct {
		record kmsg.Record
		line   string
		want   string
	}{
		{kmsg.Record{Priority: 6, Facility: 1, Time: 2500 * time.Millisecond}, "stage-1-init: eth0: up",
			`<14>1 2026-11-27T11:59:52.500000Z node-7 stage-1-init - - [meta sequenceId="7" sysUpTime="250"] eth0: up`},
		{kmsg.Record{Priority: 5}, "Command line: a.password=hunter2",
			`<5>1 2026-11-27T11:59:50.000000Z node-7 kernel - - [meta sequenceId="7" sysUpTime="0"] Command line: a.password=(blanked)`},
		{kmsg.Record{Priority: 3, Facility: 3, Time: 10 * time.Second}, "udevd: no",
			`<27>1 2026-11-27T12:00:00.000000Z node-7 - - - [meta sequenceId="7" sysUpTime="1000"] udevd: no`},
		{kmsg.Record{Priority: 7, Facility: 8191}, "x", `<15>1 2026-11-27T11:59:50.000000Z node-7 - - - [meta sequenceId="7" sysUpTime="0"] x`},
	} {
		got := string(s.message(test.record, test.line))
		if got != test.want || !form.MatchString(got) {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
	for name, want := range map[string]string{"": "-", "a b": "-", "köln": "-", strings.Repeat("x", 256): "-", "52-54-00-12-34-56": "52-54-00-12-34-56"} {
		if got := hostname(name); got != want {
			t.Errorf("%q: %q", name, got)
		}
	}
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte("6,339,5140900,-;NET: Registered\n SUBSYSTEM=pci\n"), "host")
	f.Add([]byte("12,1,0,-;stage-1-init: \\x1b[31mred\\x0asecond\\xff\n"), "h\n")
	f.Add([]byte("-- 3 lines lost: the kernel logs faster than they are read --\n"), "")
	conn := &datagrams{}
	f.Fuzz(func(t *testing.T, record []byte, host string) {
		conn.got = nil
		s := sender{ctx: t.Context(), conn: conn, Options: Options{
			Hostname: host, App: "stage-1-init", Now: time.Now, Uptime: kmsg.Uptime, Blank: func(s string) string { return s },
		}}
		if n, err := s.Write(record); n != len(record) || err != nil {
			t.Error(n, err)
		}
		for _, m := range conn.got {
			if !form.MatchString(m) || !utf8.ValidString(m) {
				t.Errorf("%q: %q", record, m)
			}
		}
	})
}

// datagrams is a connection that keeps what is sent.
type datagrams struct {
	net.Conn
	got []string
}

func (d *datagrams) Write(p []byte) (int, error) {
	d.got = append(d.got, string(p))
	return len(p), nil
}
func (d *datagrams) SetWriteDeadline(time.Time) error { return nil }
func (d *datagrams) Close() error                     { return nil }

// A collector that is found at the second try gets the log from its start, then
// what comes; nothing twice.
func TestForward(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kmsg")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	fmt.Fprint(log, "5,1,900000,-;earlier\n5,2,1000000,-;Linux version 6.12\n14,3,2000000,-;stage-1-init: one\\x0atwo\n")
	collector, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer collector.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	tries, warnings := 0, 0
	done := make(chan error, 1)
	go func() {
		done <- Forward(ctx, Options{
			Hostname: "h", App: "stage-1-init", Path: path, Since: time.Second, Warn: func(error) { warnings++ },
			Dial: func(ctx context.Context) (net.Conn, error) {
				if tries++; tries == 1 {
					return nil, errors.New("no such host")
				}
				return new(net.Dialer).DialContext(ctx, "udp", collector.LocalAddr().String())
			},
		})
	}()
	buf := make([]byte, 2048)
	for i, want := range []string{"<5>1 h kernel Linux version 6.12", "<14>1 h stage-1-init one", "<14>1 h - two", "<11>1 h stage-1-init three"} {
		if i == 3 {
			fmt.Fprint(log, "11,4,3000000,-;stage-1-init: three\n")
		}
		n, _, err := collector.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		m := form.FindStringSubmatch(string(buf[:n]))
		if m == nil {
			t.Fatalf("%q", buf[:n])
		}
		if got := fmt.Sprintf("<%s>1 %s %s %s", m[1], m[3], m[4], m[7]); got != want || m[5] != fmt.Sprint(i+1) {
			t.Errorf("got %s, message %s; want %s", got, m[5], want)
		}
	}
	cancel()
	if err := <-done; err != nil || tries != 2 || warnings != 1 {
		t.Errorf("%v, %d tries, %d warnings", err, tries, warnings)
	}
}
