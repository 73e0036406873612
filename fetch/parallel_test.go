package fetch

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"netstage/fetch/faulty"
	"netstage/fetch/pace"
	"netstage/fetch/store"
)

// limited is the rate of every stream of a server in these tests: slow enough
// that there is time for more of them.
const limited = 4 << 20

// divided is a request that tries more streams at once and keeps them whatever
// they bring.
func divided(t *testing.T, content []byte, urls ...string) (Request, *story) {
	r, log := quick(t, content, urls...)
	r.Parallel = pace.Parallel{Streams: 4, Gain: 1e-9, Measure: 50 * time.Millisecond}
	r.LowSpeed = pace.LowSpeedLimit{Bytes: 64 << 10, Window: time.Second}
	return r, log
}

// ranges are the parts that a server was asked for, of a few bytes only where
// the end was told.
func ranges(s *faulty.Server) (list []string) {
	for _, e := range s.Log() {
		if e.Range != "" && !strings.HasSuffix(e.Range, "-") {
			list = append(list, e.Range)
		}
	}
	return list
}

func slow(script ...faulty.Behaviour) []faulty.Behaviour {
	for i := range script {
		script[i].Rate = limited
	}
	return append(script, faulty.Behaviour{Rate: limited, Times: -1})
}

func TestSeveralStreams(t *testing.T) {
	content := imageBytes(5<<20 + 12345)
	t.Run("of one server", func(t *testing.T) {
		s := serve(t, content, slow()...)
		r, log := divided(t, content, s.URL("x"))
		image := mustGet(t, r, content)
		log.mustSay(t, "INFO image: 2 streams bring ")
		if got := ranges(s); len(got) < 2 || image.Stats.Requests != len(s.Log()) || image.Stats.Retries != 0 || image.Stats.Restarts != 0 {
			t.Errorf("asked for %q, %d requests, %+v", got, len(s.Log()), image.Stats)
		}
	})
	t.Run("of two mirrors, by their tree", func(t *testing.T) {
		content := content[:5<<20]
		a, b := serve(t, content, slow()...), serve(t, content, slow()...)
		r, log := divided(t, nil, a.URL("x"), b.URL("x"))
		v, _ := verityRequest(t, content, a.URL("x"))
		r.Verify = v.Verify
		mustGet(t, r, content)
		if len(ranges(b)) == 0 {
			t.Errorf("the second mirror was not asked\n%s", log)
		}
	})
	t.Run("with nothing that vouches, of one version only", func(t *testing.T) {
		a := serve(t, content, slow()...)
		other := serve(t, append(imageBytes(5<<20), content[:12345]...), slow(faulty.Behaviour{ETag: `"other"`}, faulty.Behaviour{ETag: `"other"`})...)
		r, log := divided(t, nil, a.URL("x"), other.URL("x"))
		mustGet(t, r, content)
		if len(ranges(a)) == 0 || len(ranges(other)) == 0 {
			t.Errorf("%q and %q\n%s", ranges(a), ranges(other), log)
		}
	})
	t.Run("with nothing that tells versions apart, never", func(t *testing.T) {
		s := serve(t, content, slow(faulty.Behaviour{NoValidators: true})...)
		r, _ := divided(t, nil, s.URL("x"))
		mustGet(t, r, content)
		if n := len(s.Log()); n != 1 {
			t.Errorf("%d requests", n)
		}
	})
	t.Run("never when they bring no more", func(t *testing.T) {
		s := serve(t, content, slow()...)
		r, log := divided(t, content, s.URL("x"))
		r.Parallel.Gain = 1e9
		image := mustGet(t, r, content)
		log.mustSay(t, "back to those")
		// One trial: its stream and its pieces, and what is asked for around
		// them.
		if n := len(s.Log()); n < 2 || image.Stats.Retries > 0 || strings.Contains(log.String(), "4 streams") {
			t.Errorf("%d requests, %+v\n%s", n, image.Stats, log)
		}
	})
	t.Run("never when told so", func(t *testing.T) {
		s := serve(t, content, slow()...)
		r, _ := divided(t, content, s.URL("x"))
		r.Parallel.Streams = 1
		mustGet(t, r, content)
		if n := len(s.Log()); n != 1 {
			t.Errorf("%d requests", n)
		}
	})
	t.Run("into a file", func(t *testing.T) {
		s := serve(t, content, slow()...)
		r, _ := divided(t, content, s.URL("x"))
		r.Store = store.File(t.TempDir() + "/x")
		mustGet(t, r, content)
		if len(ranges(s)) < 2 {
			t.Error("one stream")
		}
	})
}

// TestFaultsOfSeveralStreams has the first streams of a second mirror break, or
// all of them misbehave.
func TestFaultsOfSeveralStreams(t *testing.T) {
	content := imageBytes(5 << 20)
	for name, b := range map[string]faulty.Behaviour{
		"drop":             {End: faulty.EndClose, Cut: 300_000},
		"reset":            {End: faulty.EndReset, Cut: 300_000},
		"at once":          {End: faulty.EndReset},
		"stall":            {End: faulty.EndStall, Cut: 100_000},
		"hang":             {Hang: true},
		"503":              {Status: 503},
		"404":              {Status: 404},
		"no ranges":        {NoRanges: true},
		"another range":    {ContentRange: "bytes 0-9/5242880"},
		"another length":   {ContentRange: "bytes 0-9/10"},
		"Content-Encoding": {Encoding: "gzip"},
	} {
		t.Run(name, func(t *testing.T) {
			b.Times = 1000
			if b.End != "" {
				b.Times = 2
			}
			good, bad := serve(t, content, slow()...), serve(t, content, slow(b)...)
			r, log := divided(t, content, good.URL("x"), bad.URL("x"))
			image := mustGet(t, r, content)
			if image.Stats.Restarts != 0 || image.Stats.Retries == 0 {
				t.Errorf("%+v\n%s", image.Stats, log)
			}
			log.mustSay(t, "WARN image: "+bad.Addr()+": ")
			log.mustSay(t, ", on one of several streams")
		})
	}
}

// TestWrongByteOnOneOfSeveralStreams names the mirror whose byte it is, where a
// tree tells, and gets the image in any case.
func TestWrongByteOnOneOfSeveralStreams(t *testing.T) {
	content := imageBytes(5 << 20)
	var flips []int64
	for at := int64(0); at < int64(len(content)); at += 64 << 10 {
		flips = append(flips, at+77)
	}
	t.Run("with a tree", func(t *testing.T) {
		good, bad := serve(t, content, slow()...), serve(t, content, slow(faulty.Behaviour{Flip: flips, Times: -1})...)
		r, log := divided(t, nil, good.URL("x"), bad.URL("x"))
		v, _ := verityRequest(t, content, good.URL("x"))
		r.Verify = v.Verify
		image := mustGet(t, r, content)
		log.mustSay(t, "WARN image: "+bad.Addr()+" serves a wrong image: block ")
		if strings.Contains(log.String(), good.Addr()+" serves a wrong image") || image.Stats.Restarts != 0 {
			t.Errorf("%+v\n%s", image.Stats, log)
		}
	})
	t.Run("with a digest", func(t *testing.T) {
		good, bad := serve(t, content, slow()...), serve(t, content, slow(faulty.Behaviour{Flip: flips, Times: -1})...)
		r, log := divided(t, content, good.URL("x"), bad.URL("x"))
		mustGet(t, r, content)
		log.mustSay(t, "the parts received do not make up the image")
		if strings.Contains(log.String(), good.Addr()+" serves a wrong image") {
			t.Errorf("the wrong mirror is blamed:\n%s", log)
		}
	})
	t.Run("of the only mirror", func(t *testing.T) {
		bad := serve(t, content, slow(faulty.Behaviour{Flip: flips[50:], Times: -1})...)
		r, _ := divided(t, content, bad.URL("x"))
		mustFail(t, r, "mismatch")
	})
}

// TestChangeUnderSeveralStreams replaces the image while pieces of it are under
// way. What is vouched for is the new one; else the old one is as good, where
// its stream goes on, but no mixture.
func TestChangeUnderSeveralStreams(t *testing.T) {
	old, content := imageBytes(14<<20), append([]byte("new"), imageBytes(13<<20)...)
	for _, vouched := range []bool{true, false} {
		t.Run(fmt.Sprintf("vouched %v", vouched), func(t *testing.T) {
			s := serve(t, old, slow()...)
			r, log := divided(t, content, s.URL("x"))
			if !vouched {
				r.SHA256 = nil
			}
			changed := false
			r.Progress = func(Progress) {
				if !changed && len(ranges(s)) > 0 {
					changed = true
					s.SetContent(content)
				}
			}
			image, err := Get(soon(t), r)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = image.Close() })
			got, err := io.ReadAll(image.File)
			if err != nil || !bytes.Equal(got, content) && (vouched || !bytes.Equal(got, old)) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if !changed || vouched && image.Stats.Restarts == 0 {
				t.Errorf("%+v\n%s", image.Stats, log)
			}
		})
	}
}
