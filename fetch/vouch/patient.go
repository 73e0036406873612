package vouch

import (
	"io"
	"time"

	"netstage/stage1/fault"
)

// Patient reads from a disk that may hang, which nothing can end: a read that
// takes longer than limit is left behind, and none follows it.
func Patient(r io.Reader, limit time.Duration) io.Reader { return &patient{from: r, limit: limit} }

type patient struct {
	from  io.Reader
	limit time.Duration
	buf   []byte // the reader's own, while it reads
	err   error
}

func (p *patient) Read(to []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	if p.buf == nil {
		p.buf = make([]byte, 1<<20)
	}
	type result struct {
		n   int
		err error
	}
	buf, read := p.buf[:min(len(p.buf), len(to))], make(chan result, 1)
	go func() {
		n, err := p.from.Read(buf)
		read <- result{n, err}
	}()
	late := time.NewTimer(p.limit)
	defer late.Stop()
	select {
	case r := <-read:
		p.err = r.err
		return copy(to, buf[:r.n]), r.err
	case <-late.C:
		p.err = fault.Errorf(fault.Stalled, "the disk has not answered for %v", p.limit)
		p.buf = nil // the reader may write to it yet
		return 0, p.err
	}
}
