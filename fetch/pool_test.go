package fetch

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// poolModel runs a pool without a network: its workers bring what the dice
// say, and an engine's place in the image moves as a download's does.
type poolModel struct {
	t       *testing.T
	c       *pool
	image   []byte
	grain   int64
	at      int64 // verified
	dice    *rand.Rand
	busy    map[*worker]*segment
	sources []*source
	brought int64
	gone    int64     // workers
	cut     int64     // streams of the engine's
	started []*worker // in order, so that a seed is a story
}

func newPoolModel(t *testing.T, seed uint64, grain int64) *poolModel {
	dice := rand.New(rand.NewPCG(seed, 2))
	size := 1 + dice.Int64N(8<<20)
	size = (size + grain - 1) / grain * grain
	m := &poolModel{t: t, image: imageBytes(int(size)), grain: grain, dice: dice, busy: map[*worker]*segment{}}
	for range 1 + dice.IntN(3) {
		m.sources = append(m.sources, &source{})
	}
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "image"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	m.c = newPool(t.Context(), &engine{room: &room{file: f}, size: size, verify: blocks(grain)})
	m.c.length = segmentAlign * (1 + dice.Int64N(8))
	return m
}

// blocks is a verifier of blocks of that many bytes.
type blocks int

func (b blocks) Write(p []byte) (int, error) { return len(p) / int(b) * int(b), nil }
func (b blocks) Close() error                { return nil }
func (b blocks) Reset()                      {}
func (b blocks) BlockSize() int              { return int(b) }

// start adds a worker; only the model moves it.
func (m *poolModel) start() {
	w := &worker{source: m.sources[m.dice.IntN(len(m.sources))]}
	w.ctx, w.cancel = context.WithCancelCause(m.t.Context())
	m.c.mu.Lock()
	m.c.workers = append(m.c.workers, w)
	if len(m.c.segments) == 0 {
		m.c.next = max(m.c.next, aligned(m.at+m.dice.Int64N(8*segmentAlign)))
	}
	m.c.mu.Unlock()
	m.busy[w] = nil
	m.started = append(m.started, w)
}

// someone is one of the workers, nil where there are none.
func (m *poolModel) someone() *worker {
	if len(m.started) == 0 {
		return nil
	}
	return m.started[m.dice.IntN(len(m.started))]
}

// deliver has a worker bring between one byte and a segment's worth, or take
// a segment first.
func (m *poolModel) deliver(w *worker) {
	p := m.busy[w]
	if p == nil {
		m.c.mu.Lock()
		if p = m.c.pick(); p != nil {
			p.by, p.from = w, w.source
		}
		m.c.mu.Unlock()
		m.busy[w] = p
		return
	}
	n := min(1+m.dice.Int64N(1460*20), int64(len(m.image))-p.have)
	if p.have < m.at {
		m.t.Fatalf("byte %d is written once more; all before %d is verified", p.have, m.at)
	}
	have := p.have
	whole, err := m.c.put(p, m.image[p.have:p.have+n])
	if err != nil {
		m.t.Fatal(err)
	}
	m.brought += p.have - have
	if whole {
		m.c.leave(w, p, nil, n)
		m.busy[w] = nil
	}
}

// lose ends a worker in the middle of whatever it does: dismissed, or with a
// stream that broke.
func (m *poolModel) lose(w *worker, err *Error) {
	if err == nil {
		w.cancel(nil)
	}
	if p := m.busy[w]; p != nil {
		m.c.leave(w, p, err, 0)
	}
	delete(m.busy, w)
	m.started = slices.DeleteFunc(m.started, func(x *worker) bool { return x == w })
	m.c.retire(w)
	m.gone++
}

// advance verifies what is next, as the engine does: from the pool, else by
// a stream of its own that is cut off somewhere.
func (m *poolModel) advance() {
	if m.c.has(m.at) {
		p, _ := m.c.ready(m.at)
		if p.have <= m.at {
			return
		}
		got := make([]byte, (p.have-m.at)/m.grain*m.grain)
		if _, err := m.c.file.ReadAt(got, m.at); err != nil || !bytes.Equal(got, m.image[m.at:][:len(got)]) {
			m.t.Fatalf("bytes %d to %d are not the image's: %v", m.at, p.have, err)
		}
		if len(got) == 0 && len(m.busy) == 0 {
			m.t.Fatalf("nobody brings what is missing at byte %d of %+v", m.at, p)
		}
		m.at += int64(len(got))
		return
	}
	last := m.c.gap(m.at)
	if last >= 0 && last < m.at {
		m.t.Fatalf("bytes %d to %d are asked for", m.at, last)
	}
	n := m.c.claim(m.at, min(1+m.dice.Int64N(300_000), int64(len(m.image))-m.at))
	if n == 0 {
		m.t.Fatalf("nothing to do at byte %d, and the pool does not have it", m.at)
	}
	end := m.at + n
	if end < int64(len(m.image)) && end-1 != last {
		end -= end % m.grain
	}
	m.brought += n
	m.cut++
	m.at = end
}

func (m *poolModel) check() {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	at := int64(0)
	for _, p := range m.c.segments {
		switch {
		case p.begin < at, p.have < p.begin, p.end < p.have, p.begin%m.grain != 0,
			p.by == nil && p.have != p.end && p.have%m.grain != 0,
			p.end%m.grain != 0 && p.end != int64(len(m.image)):
			m.t.Fatalf("%+v after byte %d, blocks of %d", *p, at, m.grain)
		}
		at = p.end
	}
}

// TestSegmentPool moves a pool of segments at random: whatever workers deliver
// and however they go, the engine gets the image in order, nothing that it
// has verified is written again, every part that it asks for itself has a
// byte, and what comes twice is less than a block for each worker that went.
func TestSegmentPool(t *testing.T) {
	for _, grain := range []int64{1, 512, 4096, 64 << 10} {
		t.Run(fmt.Sprint(grain), func(t *testing.T) {
			for seed := range uint64(60) {
				m := newPoolModel(t, seed, grain)
				size := int64(len(m.image))
				for step := 0; m.at < size; step++ {
					if step > 1_000_000 {
						t.Fatalf("seed %d: stuck at byte %d of %d: %+v", seed, m.at, size, m.c.segments)
					}
					w := m.someone()
					switch m.dice.IntN(40) {
					case 0:
						if len(m.busy) < 4 {
							m.start()
						}
					case 1:
						if w != nil {
							m.lose(w, nil)
						}
					case 2:
						if w != nil {
							m.lose(w, newError(transient, "reset", nil, "seed %d", seed))
						}
					case 3:
						for len(m.started) > 0 {
							m.lose(m.started[0], nil)
						}
					case 4, 5, 6, 7, 8:
						m.advance()
					default:
						if w != nil {
							m.deliver(w)
						}
					}
					m.check()
				}
				// A worker that goes leaves less than a block, and so does a
				// stream of the engine's that is cut off.
				if over := m.brought - size; over > (m.gone+m.cut)*grain {
					t.Fatalf("seed %d: %d bytes too many of %d, %d workers went", seed, over, size, m.gone)
				}
			}
		})
	}
}
