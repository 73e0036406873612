package nsmachine

import (
	"io"
	"sync"
)

// A gate lets through whoever comes, unless it is shut. The zero value is open.
type gate struct {
	mu      sync.Mutex
	closed  chan struct{} // nil while open
	retired bool          // open for good
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed == nil && !g.retired {
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

// retire opens the gate for good.
func (g *gate) retire() {
	g.mu.Lock()
	g.retired = true
	g.mu.Unlock()
	g.open()
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
