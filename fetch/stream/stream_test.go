package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"netstage/debug/sentence"
	"netstage/fetch"
	"netstage/fetch/faulty"
	"netstage/fetch/pace"
	"netstage/fetch/ref"
	"netstage/fetch/verity"
)

const block = 4096

// world is an image, mirrors of it and the store that it comes to.
type world struct {
	t      testing.TB
	image  []byte
	store  *Store
	file   *os.File
	mu     sync.Mutex
	asked  []Span
	log    bytes.Buffer
	serve  []func(off int64, p []byte) error // of each mirror: may change bytes
	opened []int                             // requests of each mirror
	near   bool                              // the first mirror is
	open   int                               // bodies now
	most   int                               // and at once
	first  []time.Duration                   // of each mirror: from a request to the first byte of the body
	late   []int                             // of each mirror, in a row
}

func newWorld(t testing.TB, blocks, mirrors int) *world {
	image := make([]byte, blocks*block)
	_, _ = rand.NewChaCha8([32]byte{5}).Read(image)
	return newWorldOf(t, image, mirrors)
}

func newWorldOf(t testing.TB, image []byte, mirrors int) *world {
	w := &world{t: t, image: image, opened: make([]int, mirrors), first: make([]time.Duration, mirrors), late: make([]int, mirrors)}
	blocks := len(image) / block
	var tree bytes.Buffer
	root, err := verity.Build(bytes.NewReader(w.image), int64(len(w.image)), &tree, verity.Options{})
	if err != nil {
		t.Fatal(err)
	}
	checked, err := verity.Open(tree.Bytes(), root)
	if err != nil {
		t.Fatal(err)
	}
	if w.file, err = os.Create(filepath.Join(t.TempDir(), "image")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.file.Close() })
	if err := w.file.Truncate(int64(len(w.image))); err != nil {
		t.Fatal(err)
	}
	w.store = &Store{File: w.file, Tree: checked, Map: NewBitmap(make([]uint64, Words(int64(blocks))), int64(blocks))}
	for range mirrors {
		w.serve = append(w.serve, func(int64, []byte) error { return nil })
	}
	return w
}

func (w *world) Mirrors() int      { return len(w.serve) }
func (w *world) Name(i int) string { return fmt.Sprintf("mirror-%d", i) }
func (w *world) Near(i int) bool   { return w.near && i == 0 }
func (w *world) Get(ctx context.Context, i int, first, last int64) (io.ReadCloser, error) {
	w.mu.Lock()
	w.asked = append(w.asked, Span{first, last - first + 1})
	w.opened[i]++
	w.open++
	w.most = max(w.most, w.open)
	serve, wait := w.serve[i], w.first[i]
	w.mu.Unlock()
	return &body{ctx, w, serve, first, last + 1, wait}, nil
}
func (w *world) Patience(i int, d time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return d << min(w.late[i], 3)
}
func (w *world) Late(i int, late bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.late[i]++; !late {
		w.late[i] = 0
	}
}

type body struct {
	ctx     context.Context
	w       *world
	serve   func(int64, []byte) error
	at, end int64
	wait    time.Duration // before the first byte
}

func (b *body) Close() error {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	b.w.open--
	return nil
}
func (b *body) Read(p []byte) (int, error) {
	if b.at == b.end {
		return 0, io.EOF
	}
	select {
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	case <-time.After(b.wait):
	}
	b.wait = 0
	n := copy(p[:min(len(p), 10_000)], b.w.image[b.at:b.end])
	if err := b.serve(b.at, p[:n]); err != nil {
		return 0, err
	}
	b.at += int64(n)
	return n, b.ctx.Err()
}

func (w *world) config() Config {
	return Config{Store: w.store, Mirrors: w, Log: slog.New(sentence.NewHandler(slog.LevelInfo, w.print)), Changed: func() {}}
}

func (w *world) print(l sentence.Line) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := fmt.Fprintln(&w.log, l.Level, l.Text)
	return err
}

func (w *world) logged() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.String()
}

// start runs a stream until the test ends; the result comes when it is whole.
func (w *world) start(s *Stream) chan error {
	ctx, cancel := context.WithCancel(context.Background())
	done, ended := make(chan error, 1), make(chan struct{})
	go func() { done <- s.Run(ctx); close(ended) }()
	w.t.Cleanup(func() { cancel(); <-ended })
	return done
}

func (w *world) whole(done chan error) {
	w.t.Helper()
	select {
	case err := <-done:
		if err != nil {
			w.t.Fatal(err)
		}
	case <-time.After(30 * time.Second):
		w.t.Fatalf("not whole after 30 s; %d of %d blocks; log:\n%s", w.store.Map.Count(), w.store.Map.Blocks(), w.logged())
	}
	got, err := os.ReadFile(w.file.Name())
	if err != nil || !bytes.Equal(got, w.image) {
		w.t.Errorf("the image differs, %v", err)
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func TestTheWholeImageComes(t *testing.T) {
	for _, blocks := range []int{1, 63, 64, 65, 1000, 5000} {
		w := newWorld(t, blocks, 1)
		s := New(w.config())
		w.whole(w.start(s))
		if got := s.Received(); got != int64(len(w.image)) {
			t.Errorf("%d blocks: %d bytes came for an image of %d", blocks, got, len(w.image))
		}
	}
}

func TestAReaderGoesFirstAndGetsMoreThanItAskedFor(t *testing.T) {
	w := newWorld(t, 4000, 1)
	gate := make(chan struct{})
	w.serve[0] = func(off int64, _ []byte) error {
		if off < 2000*block {
			<-gate // whoever reads in order
		}
		return nil
	}
	s := New(w.config())
	done := w.start(s)
	need := Span{3003 * block, block}
	s.Need(need)
	eventually(t, "the reader's block comes while the rest is stuck", func() bool { return w.store.has(need) })
	around := Span{3003 * block / leastAhead * leastAhead, leastAhead}
	eventually(t, "what is around it comes too", func() bool { return w.store.has(around) })
	close(gate)
	w.whole(done)
}

func TestReadersInARowAreReadAhead(t *testing.T) {
	w := newWorld(t, 4000, 1)
	c := w.config()
	c.OnDemand = true
	s := New(c)
	w.start(s)
	for at := int64(0); at < 3<<20; at += 128 << 10 {
		need := Span{at, 128 << 10}
		s.Need(need)
		eventually(t, "a span of the row", func() bool { return w.store.has(need) })
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.asked) > 14 {
		t.Errorf("24 readers in a row cost %d requests: %v", len(w.asked), w.asked)
	}
}

func TestOnDemandBringsNothingElse(t *testing.T) {
	w := newWorld(t, 4000, 1)
	c := w.config()
	c.OnDemand = true
	s := New(c)
	w.start(s)
	s.Need(Span{1000 * block, block})
	eventually(t, "the block comes", func() bool { return w.store.has(Span{1000 * block, block}) })
	eventually(t, "all of the request", func() bool { return w.store.Map.Count() == leastAhead/block })
}

func TestHotSpansComeInTheirOrderBeforeTheRest(t *testing.T) {
	w := newWorld(t, 4000, 1)
	c := w.config()
	c.Parallel.Streams = 1
	c.Hot = []Span{{3000 * block, 10 * block}, {500 * block, block}, {2000 * block, 100 * block}}
	w.whole(w.start(New(c)))
	for i, want := range c.Hot {
		if w.asked[i] != want {
			t.Errorf("request %d was for %+v, want %+v", i, w.asked[i], want)
		}
	}
}

// Where each connection is slow more of them are tried, and a mirror that is
// slower than the limit is left for another one.
func TestMoreConnectionsAreTried(t *testing.T) {
	w := newWorld(t, 6000, 1)
	w.serve[0] = func(int64, []byte) error { time.Sleep(2 * time.Millisecond); return nil }
	c := w.config()
	c.Parallel.Measure = 200 * time.Millisecond
	w.whole(w.start(New(c)))
	if w.most < 3 || w.most > 5 {
		t.Errorf("%d connections at most, want 3 to 5", w.most)
	}
	if log := w.logged(); !strings.Contains(log, "stream: 2 connections: ") {
		t.Errorf("log:\n%s", log)
	}
}

func TestASlowMirrorIsLeft(t *testing.T) {
	w := newWorld(t, 600, 2)
	w.serve[0] = func(int64, []byte) error { time.Sleep(100 * time.Millisecond); return nil }
	c := w.config()
	c.LowSpeed = pace.LowSpeedLimit{Bytes: 1 << 20, Window: 300 * time.Millisecond}
	w.whole(w.start(New(c)))
	if log := w.logged(); !strings.Contains(log, "mirror-0: stalled: ") || !strings.Contains(log, "less than the limit of 3495 kB/s") {
		t.Errorf("log:\n%s", log)
	}
}

// A cache is asked as long as it does well, however fast the others are, and
// left when it lies.
func TestTheCacheIsAskedFirst(t *testing.T) {
	for _, lies := range []bool{false, true} {
		w := newWorld(t, 3000, 2)
		w.near = true
		w.serve[0] = func(off int64, p []byte) error {
			time.Sleep(200 * time.Microsecond)
			if lies && off > 1000*block {
				p[0] ^= 1
			}
			return nil
		}
		w.whole(w.start(New(w.config())))
		if w.opened[0] == 0 || w.opened[1] > 0 != lies {
			t.Errorf("lies %v: the cache was asked %d times, the server %d times", lies, w.opened[0], w.opened[1])
		}
	}
}

type busy struct{ error }

func (busy) RetryAfter() time.Duration { return 20 * time.Second }

// A server that asks to be left alone is left alone.
func TestABusyServerIsLeft(t *testing.T) {
	m := newMirrors(newWorld(t, 1, 1), slog.New(slog.DiscardHandler))
	now := time.Now()
	m.failed(now, 0, fmt.Errorf("asked: %w", busy{errors.New("429 Too Many Requests")}))
	if _, wait := m.pick(now, -1); wait < 20*time.Second || wait > 21*time.Second {
		t.Errorf("asked again after %v", wait)
	}
}

// Where every mirror needs longer than a reader waits for one, there is more
// patience with each, until the reader has what it wants.
func TestSlowMirrorsAreWaitedForLonger(t *testing.T) {
	w := newWorld(t, 16, 2)
	w.first = []time.Duration{3 * time.Second, 3 * time.Second}
	c := w.config()
	c.OnDemand = true
	s := New(c)
	w.start(s)
	s.Need(Span{0, block})
	eventually(t, "a reader is answered", func() bool { return w.store.has(Span{0, block}) })
	if log := w.logged(); !strings.Contains(log, "stalled: nothing came for 2s") {
		t.Errorf("log:\n%s", log)
	}
}

// Of another image no more is asked for than it takes to see it.
func TestAnotherImageIsNotFetched(t *testing.T) {
	w := newWorld(t, 2000, 2)
	w.serve[0] = func(_ int64, p []byte) error {
		for i := range p {
			p[i] ^= 1
		}
		return nil
	}
	s := New(w.config())
	w.whole(w.start(s))
	if n := s.Received() - int64(len(w.image)); n < 16*block || n > 200*block {
		t.Errorf("%d bytes of the other image were received", n)
	}
}

// The rest waits for its beginning; what is hot, and what readers want, does
// not.
func TestTheRestBeginsLater(t *testing.T) {
	w := newWorld(t, 1000, 1)
	c := w.config()
	begin := make(chan struct{})
	c.Begin, c.Hot = begin, []Span{{500 * block, 10 * block}}
	s := New(c)
	done := w.start(s)
	s.Need(Span{900 * block, block})
	eventually(t, "hot and wanted blocks come", func() bool { return w.store.has(c.Hot[0]) && w.store.has(Span{900 * block, block}) })
	if n := w.store.Map.Count(); n > 10+leastAhead/block {
		t.Errorf("%d blocks have come", n)
	}
	close(begin)
	w.whole(done)
}

// A wrong block never becomes readable; the other mirror is asked, the one
// that is wrong is named.
func TestAWrongBlockIsAskedForFromAnotherMirror(t *testing.T) {
	for _, fromReader := range []bool{false, true} {
		w := newWorld(t, 500, 2)
		const wrong = 77
		w.serve[0] = func(off int64, p []byte) error {
			if at := wrong*block + 5 - off; at >= 0 && at < int64(len(p)) {
				p[at] ^= 1
			}
			return nil
		}
		c := w.config()
		c.OnDemand = fromReader
		s := New(c)
		done := w.start(s)
		if fromReader {
			for b := int64(0); b < 500; b += 16 {
				s.Need(Span{b * block, min(16, 500-b) * block})
			}
		}
		w.whole(done)
		if text := w.logged(); !strings.Contains(text, "mirror-0 serves a wrong image: block 77 (byte 315392) is wrong") {
			t.Errorf("the mirror is not named:\n%s", text)
		}
	}
}

// With nobody who has the right bytes, readers wait, and go on when it is
// there again.
func TestWithoutARightMirrorItWaits(t *testing.T) {
	w := newWorld(t, 50, 1)
	var mu sync.Mutex
	bad := true
	w.serve[0] = func(off int64, p []byte) error {
		mu.Lock()
		defer mu.Unlock()
		if bad {
			return errors.New("mirror-0: connection refused")
		}
		return nil
	}
	s := New(w.config())
	done := w.start(s)
	s.Need(Span{0, block})
	eventually(t, "the fault is known", func() bool { return strings.Contains(s.Why(), "connection refused") })
	if n := w.store.Map.Count(); n != 0 {
		t.Errorf("%d blocks of nothing", n)
	}
	mu.Lock()
	bad = false
	mu.Unlock()
	w.whole(done)
}

// Real HTTP, with the faults of a server in a bad mood.
func TestOverHTTP(t *testing.T) {
	well := faulty.Behaviour{Times: 2} // at first
	for name, script := range map[string][]faulty.Behaviour{
		"plain":                {},
		"broken bodies":        {{End: faulty.EndReset, Cut: 200_000, Times: 20}},
		"another image":        {{Flip: []int64{3_000_000}, ETag: `"other"`, Times: -1}},
		"no ranges":            {{NoRanges: true, Times: -1}},
		"no ranges any more":   {well, {NoRanges: true, Times: -1}},
		"away for a bit":       {{Status: 503, Times: 3}},
		"deleted":              {well, {Status: 404, Times: -1}},
		"forbidden":            {well, {Status: 403, Times: -1}},
		"busy":                 {well, {Status: 429, RetryAfter: "1", Times: 3}},
		"led in a circle":      {well, {Location: "loop", Times: -1}},
		"compressed":           {well, {Encoding: "gzip", Times: -1}},
		"another range":        {well, {ContentRange: "bytes 0-4095/4096000", Times: -1}},
		"a shorter image":      {well, {ContentRange: "bytes 0-4095/8192", Times: -1}},
		"bodies end at once":   {well, {End: faulty.EndClose, Cut: 10, Times: -1}},
		"a body stands still":  {well, {End: faulty.EndStall, Cut: 50_000}},
		"no answer":            {well, {Hang: true, Times: 2}},
		"parts without a name": {well, {PartAs200: true, NoPartHeader: true, Times: -1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1000, 1)
			var mirrors []ref.Location
			for _, script := range [][]faulty.Behaviour{script, nil} {
				server, err := faulty.Listen("127.0.0.1:0", w.image, script...)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { server.Close() })
				l, err := ref.ParseURL(server.URL("image"))
				if err != nil {
					t.Fatal(err)
				}
				mirrors = append(mirrors, l)
			}
			ranges, err := fetch.NewRanges(fetch.Request{Mirrors: mirrors, Size: int64(len(w.image)), Checked: true, Log: slog.New(slog.DiscardHandler), Timeouts: pace.Timeouts{}.Urgent(2)})
			if err != nil {
				t.Fatal(err)
			}
			defer ranges.Close()
			c := w.config()
			c.Mirrors = ranges
			s := New(c)
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			done := make(chan error, 1)
			done <- s.Run(ctx)
			w.whole(done)
			for line := range strings.Lines(w.logged()) {
				if strings.Contains(line, "next try") && !strings.Contains(line, "stream: 127.0.0.1:") {
					t.Errorf("it does not say of whom: %s", line)
				}
			}
		})
	}
}

func FuzzBitmap(f *testing.F) {
	f.Add([]byte{1, 0, 63, 64, 65}, uint16(70), uint16(0), uint16(70))
	f.Fuzz(func(t *testing.T, set []byte, blocks, first, last uint16) {
		n := int64(blocks%300) + 1
		b, model := NewBitmap(make([]uint64, Words(n)), n), map[int64]bool{}
		for i, v := range set {
			at := (int64(v) + int64(i)*7) % n
			if i%5 == 4 {
				b.Clear(at)
				delete(model, at)
				continue
			}
			b.Set(at)
			model[at] = true
		}
		from, to := int64(first)%(n+1), int64(last)%(n+1)
		if from > to {
			from, to = to, from
		}
		a := from
		for a < to && model[a] {
			a++
		}
		z := a
		for z < to && !model[z] {
			z++
		}
		if gotA, gotZ := b.Missing(from, to); gotA != a || gotZ != z || b.Has(from, to) != (a == to) || b.Count() != int64(len(model)) {
			t.Errorf("of %d to %d: %d to %d missing, want %d to %d", from, to, gotA, gotZ, a, z)
		}
	})
}

func FuzzHot(f *testing.F) {
	f.Add([]byte(hotHead+"\n0 4096\n# why\n81920 65536\n"), int64(100_000))
	f.Add([]byte(hotHead+"\n-1 9223372036854775807\n9223372036854775807 1"), int64(5))
	f.Fuzz(func(t *testing.T, text []byte, size int64) {
		spans, err := ParseHot(text, size)
		if err != nil {
			return
		}
		for _, s := range spans {
			if s.Off < 0 || s.Len <= 0 || s.Len > size-s.Off {
				t.Errorf("%+v of an image of %d bytes", s, size)
			}
		}
		again, err := ParseHot(FormatHot(spans), size)
		if err != nil || fmt.Sprint(again) != fmt.Sprint(spans) {
			t.Errorf("written and read again: %v, %v", again, err)
		}
	})
}

func TestMergeHot(t *testing.T) {
	const k = 64 << 10
	got := MergeHot([]Span{{0, 4096}, {5 * k, 3 * k}}, []Span{{6 * k, 4096}, {9 * k, k}, {k, 10}})
	want := []Span{{0, k}, {5 * k, 3 * k}, {9 * k, k}, {k, k}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
}
