package kmod

import (
	"sync"

	"netstage/stage1/modindex"
)

// node is one module on its way into the kernel.
type node struct {
	name     string
	path     string // empty: an install command is all there is
	params   string
	hard     []*node // must be in before, or this one fails
	soft     []*node // should be tried before
	building bool

	done  chan struct{} // closed when the outcome is known
	err   error
	isNew bool // in the kernel now, and not before
}

func (n *node) finished() bool {
	select {
	case <-n.done:
		return true
	default:
		return false
	}
}

// graph holds the modules that were asked for. Edges are fixed before a node
// is visible to anyone else and never form a ring, so waiting along them ends.
type graph struct {
	mu    sync.Mutex
	nodes map[string]*node
}

// plan returns the nodes of what is wanted with all they need: every one to
// wait for, and those that nobody has started yet.
func (g *graph) plan(ix *modindex.Index, wanted []modindex.Target) (all, fresh []*node) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := planner{g: g, ix: ix, seen: map[*node]bool{}}
	for _, t := range wanted {
		p.need(t)
	}
	// Soft edges come after all hard ones are known, and only where they close
	// no ring. The list grows while it is walked.
	for i := 0; i < len(p.fresh); i++ {
		n := p.fresh[i]
		pre, post := ix.Soft(n.name)
		for _, name := range pre {
			if t := p.need(modindex.Target{Name: name}); t != nil && !reaches(t, n) {
				n.soft = append(n.soft, t)
			}
		}
		for _, name := range post {
			before := len(p.fresh)
			t := p.need(modindex.Target{Name: name})
			if t != nil && len(p.fresh) > before && !reaches(n, t) {
				t.soft = append(t.soft, n)
			}
		}
	}
	return p.all, p.fresh
}

type planner struct {
	g          *graph
	ix         *modindex.Index
	seen       map[*node]bool
	all, fresh []*node
}

func (p *planner) need(wanted modindex.Target) *node {
	name := wanted.Name
	n := p.g.nodes[name]
	if n == nil {
		path, ok := p.ix.Path(name)
		if !ok && p.ix.Config().Install(name) == "" {
			return nil
		}
		n = &node{name: name, path: path, params: p.ix.Config().Params(name, wanted.Alias), building: true, done: make(chan struct{})}
		p.g.nodes[name] = n
		for _, d := range p.ix.Depends(name) {
			// A ring of hard dependencies is a broken index; it is cut here
			// and the kernel will say which symbol is missing.
			if t := p.need(modindex.Target{Name: d}); t != nil && !t.building {
				n.hard = append(n.hard, t)
			}
		}
		n.building = false
		p.fresh = append(p.fresh, n)
	}
	if !p.seen[n] {
		p.seen[n] = true
		p.all = append(p.all, n)
	}
	return n
}

// reaches says whether from waits, directly or not, for to.
func reaches(from, to *node) bool {
	seen := map[*node]bool{}
	var walk func(n *node) bool
	walk = func(n *node) bool {
		if n == to {
			return true
		}
		if seen[n] {
			return false
		}
		seen[n] = true
		for _, d := range n.hard {
			if walk(d) {
				return true
			}
		}
		for _, d := range n.soft {
			if walk(d) {
				return true
			}
		}
		return false
	}
	return walk(from)
}

// forget lets a module that failed be tried again.
func (g *graph) forget(n *node) {
	g.mu.Lock()
	if g.nodes[n.name] == n {
		delete(g.nodes, n.name)
	}
	g.mu.Unlock()
}
