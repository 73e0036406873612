package segments

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"netstage/fetch/internal/mirror"
	"netstage/stage1/fault"
)

// poolModel runs a pool without a network: its workers bring what the dice
// say, and an engine's place in the image moves as a download's does.
type poolModel struct {
	t       *testing.T
	c       *Pool
	image   []byte
	grain   int64
	at      int64 // verified
	dice    *rand.Rand
	busy    map[*worker]*Segment
	sources []*mirror.Mirror
	brought int64
	gone    int64     // workers
	cut     int64     // streams of the engine's
	started []*worker // in order, so that a seed is a story
}

func newPoolModel(t *testing.T, seed uint64, grain int64) *poolModel {
	dice := rand.New(rand.NewPCG(seed, 2))
	size := 1 + dice.Int64N(8<<20)
	size = (size + grain - 1) / grain * grain
	m := &poolModel{t: t, image: randomBytes(int(size)), grain: grain, dice: dice, busy: map[*worker]*Segment{}}
	for range 1 + dice.IntN(3) {
		m.sources = append(m.sources, &mirror.Mirror{})
	}
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "image"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	m.c = New(t.Context(), Config{File: f, Size: size, Grain: grain})
	m.c.table.length = align * (1 + dice.Int64N(8))
	return m
}

// randomBytes are always the same.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// start adds a worker; only the model moves it.
func (m *poolModel) start() {
	w := &worker{mirror: m.sources[m.dice.IntN(len(m.sources))]}
	w.ctx, w.cancel = context.WithCancelCause(m.t.Context())
	m.c.mu.Lock()
	m.c.workers = append(m.c.workers, w)
	if len(m.c.table.segments) == 0 {
		m.c.table.next = max(m.c.table.next, aligned(m.at+m.dice.Int64N(8*align)))
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
		if p = m.c.table.pick(); p != nil {
			p.by, p.From = w, w.mirror
		}
		m.c.mu.Unlock()
		m.busy[w] = p
		return
	}
	n := min(1+m.dice.Int64N(1460*20), int64(len(m.image))-p.Have)
	if p.Have < m.at {
		m.t.Fatalf("byte %d is written once more; all before %d is verified", p.Have, m.at)
	}
	have := p.Have
	whole, err := m.c.put(p, m.image[p.Have:p.Have+n])
	if err != nil {
		m.t.Fatal(err)
	}
	m.brought += p.Have - have
	if whole {
		m.c.release(w, p, nil, n)
		m.busy[w] = nil
	}
}

// lose ends a worker in the middle of whatever it does: dismissed, or with a
// stream that broke.
func (m *poolModel) lose(w *worker, err *mirror.Fault) {
	if err == nil {
		w.cancel(nil)
	}
	if p := m.busy[w]; p != nil {
		m.c.release(w, p, err, 0)
	}
	delete(m.busy, w)
	m.started = slices.DeleteFunc(m.started, func(x *worker) bool { return x == w })
	m.c.remove(w)
	m.gone++
}

// advance verifies what is next, as the engine does: from the pool, else by
// a stream of its own that is cut off somewhere.
func (m *poolModel) advance() {
	if m.c.Has(m.at) {
		p, _ := m.c.Ready(m.at)
		if p.Have <= m.at {
			return
		}
		got := make([]byte, (p.Have-m.at)/m.grain*m.grain)
		if _, err := m.c.c.File.ReadAt(got, m.at); err != nil || !bytes.Equal(got, m.image[m.at:][:len(got)]) {
			m.t.Fatalf("bytes %d to %d are not the image's: %v", m.at, p.Have, err)
		}
		if len(got) == 0 && len(m.busy) == 0 {
			m.t.Fatalf("nobody brings what is missing at byte %d of %+v", m.at, p)
		}
		m.at += int64(len(got))
		return
	}
	last := m.c.Gap(m.at)
	if last >= 0 && last < m.at {
		m.t.Fatalf("bytes %d to %d are asked for", m.at, last)
	}
	n := m.c.Claim(m.at, min(1+m.dice.Int64N(300_000), int64(len(m.image))-m.at))
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
	for _, p := range m.c.table.segments {
		switch {
		case p.Begin < at, p.Have < p.Begin, p.End < p.Have, p.Begin%m.grain != 0,
			p.by == nil && p.Have != p.End && p.Have%m.grain != 0,
			p.End%m.grain != 0 && p.End != int64(len(m.image)):
			m.t.Fatalf("%+v after byte %d, blocks of %d", *p, at, m.grain)
		}
		at = p.End
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
						t.Fatalf("seed %d: stuck at byte %d of %d: %+v", seed, m.at, size, m.c.table.segments)
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
							m.lose(w, mirror.NewFault(mirror.Transient, fault.Reset, nil, "seed %d", seed))
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
