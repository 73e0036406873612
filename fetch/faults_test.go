package fetch

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"netstage/fetch/faulty"
	"netstage/stage1/fault"
)

// The fault column: each is a real server that misbehaves over a real socket.

func TestBrokenBodiesAreResumed(t *testing.T) {
	content := imageBytes(5<<20 + 77)
	cut := int64(3<<20 + 5)
	for name, b := range map[string]faulty.Behaviour{
		"drop":          {End: faulty.EndClose, Cut: cut},
		"reset":         {End: faulty.EndReset, Cut: cut},
		"stall":         {End: faulty.EndStall, Cut: cut},
		"short chunked": {End: faulty.EndClose, Cut: cut, Chunked: true},
		"at once":       {End: faulty.EndReset, Cut: 0},
		"last byte":     {End: faulty.EndClose, Cut: int64(len(content)) - 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, content, b)
			r, log := quick(t, content, s.URL("x"))
			image := mustGet(t, r, content)
			l := s.Log()
			if len(l) != 2 || image.Stats.Retries != 1 || image.Stats.Restarts != 0 {
				t.Fatalf("%d requests, stats %+v\n%s", len(l), image.Stats, log)
			}
			// A reset may take bytes with it that were under way, and so may a
			// busy host for longer than a server may be silent.
			exact := b.End == faulty.EndClose
			var from int64
			if b.Cut > 0 {
				if _, err := fmt.Sscanf(l[1].Range, "bytes=%d-", &from); err != nil || from <= 0 || from > b.Cut || exact && from != b.Cut {
					t.Errorf("resumed with %q after %d bytes", l[1].Range, b.Cut)
				}
				if l[1].IfRange != "" {
					t.Errorf("If-Range %s, though a digest vouches", l[1].IfRange)
				}
				log.mustSay(t, "resuming at ")
			}
		})
	}
}

func TestShortBodyWithoutLength(t *testing.T) {
	content := imageBytes(3 << 20)
	short := faulty.Behaviour{NoLength: true, End: faulty.EndClose, Cut: 1 << 20}
	t.Run("caught by the digest and resumed", func(t *testing.T) {
		s := serve(t, content, short)
		r, _ := quick(t, content, s.URL("x"))
		mustGet(t, r, content)
		if got := s.Log()[1].Range; got != "bytes=1048576-" {
			t.Errorf("resumed with %q", got)
		}
	})
	t.Run("caught by the known size", func(t *testing.T) {
		s := serve(t, content, short)
		r, _ := quick(t, nil, s.URL("x"))
		r.Size = int64(len(content))
		mustGet(t, r, content)
	})
	t.Run("accepted with a warning when nothing vouches", func(t *testing.T) {
		s := serve(t, content, short)
		r, log := quick(t, nil, s.URL("x"))
		mustGet(t, r, content[:1<<20])
		log.mustSay(t, "WARN image: "+s.Addr()+" sent no length, and nothing vouches for these 1048576 bytes being all")
	})
	t.Run("nothing at all", func(t *testing.T) {
		nothing := faulty.Behaviour{NoLength: true, End: faulty.EndClose, Times: 3}
		for _, pin := range [][]byte{content, nil} {
			s := serve(t, content, nothing)
			r, log := quick(t, pin, s.URL("x"))
			mustGet(t, r, content)
			log.mustSay(t, s.Addr()+": closed the connection before the first byte")
		}
		s := serve(t, nil, faulty.Behaviour{Chunked: true, Times: -1})
		r, _ := quick(t, nil, s.URL("x"))
		mustFail(t, r, "short")
	})
	t.Run("a whole one of the wrong digest is a mismatch", func(t *testing.T) {
		for _, noRanges := range []bool{false, true} {
			s := serve(t, content, faulty.Behaviour{NoLength: true, NoRanges: noRanges, Times: -1})
			r, _ := quick(t, content, s.URL("x"))
			r.SHA256 = sum([]byte("other"))
			mustFail(t, r, "mismatch")
		}
	})
}

func TestStallMovesToAnotherMirror(t *testing.T) {
	content := imageBytes(3 << 20)
	slow := serve(t, content, faulty.Behaviour{Rate: 8 << 10, Times: -1})
	good := serve(t, content)
	r, log := quick(t, content, slow.URL("x"), good.URL("x"))
	mustGet(t, r, content)
	log.mustSay(t, "stalled: ")
	log.mustSay(t, " over 250ms, the floor is 64 KiB/s (0/3 MiB done), next try from "+good.Addr())
	if l := good.Log(); len(l) != 1 || !strings.HasPrefix(l[0].Range, "bytes=") {
		t.Errorf("the good mirror was not asked to go on: %+v", l)
	}
}

func TestServerThatNeverAnswers(t *testing.T) {
	content := imageBytes(1000)
	for name, b := range map[string]faulty.Behaviour{"hang": {Hang: true}, "late": {DelayMS: 1500}} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, content, b)
			r, log := quick(t, content, s.URL("x"))
			mustGet(t, r, content)
			log.mustSay(t, "no answer in time")
		})
	}
}

func TestWrongByte(t *testing.T) {
	content := imageBytes(3 << 20)
	wrong := faulty.Behaviour{Flip: []int64{2<<20 + 1}, Times: -1}
	t.Run("one mirror", func(t *testing.T) {
		s := serve(t, content, wrong)
		r, _ := quick(t, content, s.URL("x"))
		err := mustFail(t, r, "mismatch")
		for _, want := range []string{s.URL("x"), fmt.Sprintf("expected %x", sum(content)), "sha256 is "} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %q", err, want)
			}
		}
		if len(s.Log()) != 1 {
			t.Errorf("%d requests to a mirror known to be wrong", len(s.Log()))
		}
	})
	t.Run("one of two mirrors", func(t *testing.T) {
		bad, good := serve(t, content, wrong), serve(t, content)
		r, log := quick(t, content, bad.URL("x"), good.URL("x"))
		mustGet(t, r, content)
		log.mustSay(t, "WARN image: "+bad.Addr()+" serves a wrong image")
		if len(bad.Log()) != 1 || len(good.Log()) != 1 || good.Log()[0].Range != "" {
			t.Errorf("bad %+v good %+v", bad.Log(), good.Log())
		}
	})
	t.Run("all mirrors", func(t *testing.T) {
		a, b := serve(t, content, wrong), serve(t, content, wrong)
		r, _ := quick(t, content, a.URL("x"), b.URL("x"))
		err := mustFail(t, r, "mismatch")
		if !strings.Contains(err.Error(), a.Addr()) || !strings.Contains(err.Error(), b.Addr()) || len(fault.TriedOf(err)) != 2 {
			t.Errorf("%v, tried %q", err, fault.TriedOf(err))
		}
	})
	t.Run("after a resume the innocent mirror is not blamed", func(t *testing.T) {
		bad := serve(t, content, faulty.Behaviour{Flip: []int64{5}, End: faulty.EndClose, Cut: 2 << 20},
			faulty.Behaviour{Flip: []int64{5}, Times: -1})
		good := serve(t, content)
		r, log := quick(t, content, bad.URL("x"), good.URL("x"))
		mustGet(t, r, content)
		if strings.Contains(log.String(), good.Addr()+" serves a wrong image") {
			t.Errorf("the wrong mirror is blamed:\n%s", log)
		}
	})
}

func TestStatuses(t *testing.T) {
	content := imageBytes(100_000)
	t.Run("503 with Retry-After", func(t *testing.T) {
		s := serve(t, content, faulty.Behaviour{Status: 503, RetryAfter: "1", Times: 2})
		r, log := quick(t, content, s.URL("x"))
		mustGet(t, r, content)
		l := s.Log()
		for i := 1; i < len(l); i++ {
			if gap := l[i].At.Sub(l[i-1].At); gap < time.Second {
				t.Errorf("request %d came %v after a 503 that asked for 1 s", i, gap)
			}
		}
		log.mustSay(t, "503 Service Unavailable")
	})
	t.Run("Retry-After lets another mirror serve", func(t *testing.T) {
		busy := serve(t, content, faulty.Behaviour{Status: 429, RetryAfter: "3600", Times: -1})
		good := serve(t, content)
		r, _ := quick(t, content, busy.URL("x"), good.URL("x"))
		mustGet(t, r, content)
	})
	t.Run("transient ones are retried", func(t *testing.T) {
		s := serve(t, content, faulty.Behaviour{Status: 500}, faulty.Behaviour{Status: 502, Times: 2}, faulty.Behaviour{Status: 408},
			faulty.Behaviour{Status: 429})
		r, _ := quick(t, content, s.URL("x"))
		if image := mustGet(t, r, content); image.Stats.Retries != 5 {
			t.Errorf("%+v", image.Stats)
		}
	})
	for _, code := range []int{400, 401, 403, 404, 410} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			s := serve(t, content, faulty.Behaviour{Status: code, Times: -1})
			r, _ := quick(t, content, s.URL("x.squashfs"))
			err := mustFail(t, r, fmt.Sprintf("http-%d", code))
			if len(s.Log()) != 1 || !strings.Contains(err.Error(), "/x.squashfs") {
				t.Errorf("%d requests, %v", len(s.Log()), err)
			}
			good := serve(t, content)
			r, _ = quick(t, content, s.URL("x"), good.URL("x"))
			mustGet(t, r, content)
		})
	}
	t.Run("empty", func(t *testing.T) {
		s := serve(t, nil)
		r, _ := quick(t, nil, s.URL("x"))
		mustFail(t, r, "short")
	})
}

func TestRefusedForEver(t *testing.T) {
	content := imageBytes(1000)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	r, _ := quick(t, content, "http://"+addr+"/x")
	ctx, cancel := context.WithTimeout(soon(t), 300*time.Millisecond)
	defer cancel()
	e := mustFailIn(t, ctx, r, "refused")
	if e.Permanent() || len(fault.TriedOf(e)) != 1 || !regexp.MustCompile(`^0\.\d-\d+\.\d s: .*: connection refused \(\d+ times\)$`).MatchString(fault.TriedOf(e)[0]) {
		t.Errorf("%v, tried %q", e, fault.TriedOf(e))
	}

	// The server comes up while the client waits.
	r, _ = quick(t, content, "http://"+addr+"/x")
	fails := 0
	r.Dial = func(ctx context.Context, network, a string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, a)
		if err != nil {
			if fails++; fails == 3 {
				s, err := faulty.Listen(addr, content)
				if err != nil {
					return nil, err
				}
				t.Cleanup(func() { s.Close() })
			}
		}
		return c, err
	}
	if image := mustGet(t, r, content); image.Stats.Retries != 3 {
		t.Errorf("%+v", image.Stats)
	}
}

func TestNamesAreRetried(t *testing.T) {
	content := imageBytes(1000)
	s := serve(t, content)
	r, log := quick(t, content, "http://boot.example.test/x")
	fails := 0
	r.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if fails++; fails < 3 {
			return nil, &net.OpError{Op: "dial", Net: network, Err: &net.DNSError{Err: "no such host", Name: "boot.example.test", IsNotFound: true}}
		}
		return new(net.Dialer).DialContext(ctx, network, s.Addr())
	}
	mustGet(t, r, content)
	log.mustSay(t, "cannot resolve boot.example.test: no such host")
}

func TestRedirects(t *testing.T) {
	content := imageBytes(100_000)
	t.Run("followed, and resumed through", func(t *testing.T) {
		target := serve(t, content, faulty.Behaviour{End: faulty.EndReset, Cut: 50_000})
		s := serve(t, content, faulty.Behaviour{Location: target.URL("y"), Times: -1})
		r, _ := quick(t, content, s.URL("x"))
		mustGet(t, r, content)
		if len(s.Log()) != 2 || len(target.Log()) != 2 {
			t.Errorf("%d and %d requests", len(s.Log()), len(target.Log()))
		}
	})
	t.Run("loop", func(t *testing.T) {
		s := serve(t, content, faulty.Behaviour{Location: "loop", Times: -1})
		r, _ := quick(t, content, s.URL("x"))
		mustFail(t, r, "redirect")
		if n := len(s.Log()); n != 11 {
			t.Errorf("%d requests", n)
		}
	})
	t.Run("to another scheme", func(t *testing.T) {
		s := serve(t, content, faulty.Behaviour{Location: "ftp://h/x", Times: -1})
		r, _ := quick(t, content, s.URL("x"))
		mustFail(t, r, "redirect")
	})
}

func TestRangeFaults(t *testing.T) {
	content := imageBytes(3 << 20)
	broken := faulty.Behaviour{End: faulty.EndClose, Cut: 2 << 20}
	t.Run("chunked", func(t *testing.T) {
		s := serve(t, content, faulty.Behaviour{Chunked: true})
		r, _ := quick(t, content, s.URL("x"))
		mustGet(t, r, content)
	})
	t.Run("no ranges: from the start", func(t *testing.T) {
		s := serve(t, content, broken, faulty.Behaviour{NoRanges: true, Times: -1})
		r, log := quick(t, content, s.URL("x"))
		if image := mustGet(t, r, content); image.Stats.Restarts != 1 {
			t.Errorf("%+v", image.Stats)
		}
		log.mustSay(t, "it sends no ranges")
	})
	t.Run("another range than asked for", func(t *testing.T) {
		for _, cr := range []string{"bytes 0-3145727/3145728", "bytes 2097153-3145727/3145728", "bytes */3145728", "nonsense"} {
			s := serve(t, content, broken, faulty.Behaviour{ContentRange: cr})
			r, log := quick(t, content, s.URL("x"))
			mustGet(t, r, content)
			log.mustSay(t, "it answers Content-Range")
		}
	})
	t.Run("a shorter range than asked for", func(t *testing.T) {
		s := serve(t, content, broken, faulty.Behaviour{ContentRange: "bytes 2097152-2499999/3145728", Length: 402_848})
		r, _ := quick(t, content, s.URL("x"))
		mustGet(t, r, content)
		if l := s.Log(); len(l) != 3 || l[2].Range != "bytes=2500000-" {
			t.Errorf("%+v", l)
		}
	})
	t.Run("another range than asked for, and a good mirror", func(t *testing.T) {
		bad := serve(t, content, broken, faulty.Behaviour{ContentRange: "bytes 0-9/10", Times: -1})
		good := serve(t, content, faulty.Behaviour{Status: 503})
		r, _ := quick(t, content, bad.URL("x"), good.URL("x"))
		mustGet(t, r, content)
	})
	t.Run("changed ETag", func(t *testing.T) {
		for _, ignore := range []bool{false, true} {
			s := serve(t, content, broken, faulty.Behaviour{ETag: `"new"`, IgnoreIf: ignore, Times: -1})
			r, log := quick(t, nil, s.URL("x"))
			mustGet(t, r, content)
			log.mustSay(t, "starting over at 2/3 MiB")
			log.mustSay(t, `became "new"`)
			if got := s.Log()[1].IfRange; got == "" {
				t.Error("no If-Range, though nothing vouches")
			}
		}
	})
	t.Run("changed content", func(t *testing.T) {
		other := append(imageBytes(4<<20), "new"...)
		s := serve(t, content, broken)
		r, log := quick(t, other, s.URL("x"))
		r.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if len(s.Log()) == 1 {
				s.SetContent(other)
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
		mustGet(t, r, other)
		log.mustSay(t, "starting over at 2/3 MiB")
	})
	t.Run("mirrors of different lengths", func(t *testing.T) {
		a := serve(t, content, broken, faulty.Behaviour{Status: 404, Times: -1})
		other := imageBytes(4 << 20)
		b := serve(t, other)
		r, _ := quick(t, other, a.URL("x"), b.URL("x"))
		mustGet(t, r, other)
	})
	t.Run("a mirror of another length than the trusted one costs nothing", func(t *testing.T) {
		for _, n := range []int{1 << 20, 4 << 20} {
			a := serve(t, content, broken)
			other := serve(t, imageBytes(n))
			r, _ := quick(t, content, a.URL("x"), other.URL("x"))
			r.Size = int64(len(content))
			if image := mustGet(t, r, content); image.Stats.Restarts != 0 || len(other.Log()) != 1 {
				t.Errorf("%+v", image.Stats)
			}
		}
	})
	t.Run("without validators and without a digest another mirror starts over", func(t *testing.T) {
		a := serve(t, content, faulty.Behaviour{NoValidators: true, End: faulty.EndClose, Cut: 2 << 20})
		b := serve(t, content)
		r, log := quick(t, nil, a.URL("x"), b.URL("x"))
		mustGet(t, r, content)
		log.mustSay(t, "nothing tells whether it has the same image")
	})
	t.Run("Content-Encoding", func(t *testing.T) {
		s := serve(t, content, faulty.Behaviour{Encoding: "gzip", Times: -1})
		r, _ := quick(t, content, s.URL("x"))
		mustFail(t, r, "encoding")
	})
	t.Run("another size than the trusted one", func(t *testing.T) {
		s := serve(t, content)
		r, _ := quick(t, nil, s.URL("x"))
		r.Size = 1 << 20
		mustFail(t, r, "mismatch")
		s = serve(t, content, faulty.Behaviour{NoLength: true})
		r, _ = quick(t, nil, s.URL("x"))
		r.Size = 1 << 20
		mustFail(t, r, "mismatch")
	})
}

func TestManyFaultsInARow(t *testing.T) {
	content := imageBytes(4 << 20)
	var script []faulty.Behaviour
	for i := range 12 {
		script = append(script, faulty.Behaviour{End: []string{faulty.EndClose, faulty.EndReset}[i%2], Cut: 300_000 + int64(i)})
	}
	s := serve(t, content, script...)
	r, _ := quick(t, content, s.URL("x"))
	image := mustGet(t, r, content)
	if image.Stats.Restarts != 0 || image.Stats.Received > int64(len(content)) {
		t.Errorf("%+v", image.Stats)
	}
}

func TestCancelledWhileWaiting(t *testing.T) {
	s := serve(t, nil, faulty.Behaviour{Status: 503, RetryAfter: "100", Times: -1})
	r, _ := quick(t, nil, s.URL("x"))
	ctx, cancel := context.WithTimeout(soon(t), 200*time.Millisecond)
	defer cancel()
	mustFailIn(t, ctx, r, "http-503")
}
