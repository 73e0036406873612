package nsmachine

import (
	"io"
	"sync"
)

// A gate lets through whoever comes, unless it is closed. The zero value is
// open.
type gate struct {
	mu     sync.Mutex
	closed chan struct{} // nil while open
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed == nil {
		g.closed = make(chan struct{})
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed != nil {
		close(g.closed)
		g.closed = nil
	}
}

func (g *gate) wait() {
	g.mu.Lock()
	closed := g.closed
	g.mu.Unlock()
	if closed != nil {
		<-closed
	}
}

// gated writes through a gate.
type gated struct {
	*gate
	io.WriteCloser
}

func (w gated) Write(text []byte) (int, error) {
	w.wait()
	return w.WriteCloser.Write(text)
}
