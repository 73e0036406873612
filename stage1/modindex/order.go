package modindex

import "slices"

// Resolve returns the files to load for a name or an alias, in an order in
// which they can be loaded one by one: dependencies and soft dependencies
// ("pre") first, "post" ones after. It is empty where nothing needs loading
// (built in, masked), and wraps ErrNotFound when nothing matches.
func (ix *Index) Resolve(nameOrAlias string) ([]string, error) {
	names, err := ix.Order(nameOrAlias)
	if err != nil {
		return nil, err
	}
	paths := make([]string, 0, len(names))
	for _, n := range names {
		if path, ok := ix.Path(n); ok {
			paths = append(paths, path)
		}
	}
	return paths, nil
}

// Order is Resolve with names for files.
func (ix *Index) Order(nameOrAlias string) ([]string, error) {
	names, err := ix.Lookup(nameOrAlias)
	if err != nil {
		return nil, err
	}
	o := order{ix: ix, visited: map[string]bool{}, filled: map[string]bool{}}
	for _, n := range names {
		o.visit(n)
	}
	return o.list, nil
}

// order walks as libkmod's kmod_module_get_probe_list does, so that the two
// agree also where soft dependencies form a ring.
type order struct {
	ix              *Index
	visited, filled map[string]bool
	list            []string
}

func (o *order) visit(name string) {
	if o.visited[name] {
		return
	}
	o.visited[name] = true
	for _, d := range o.ix.Depends(name) {
		o.fill(d)
	}
	o.fill(name)
}

func (o *order) fill(name string) {
	pre, post := []string(nil), []string(nil)
	if !o.filled[name] {
		o.filled[name] = true
		pre, post = o.ix.Soft(name)
	}
	for _, p := range pre {
		o.visit(p)
	}
	if !slices.Contains(o.list, name) {
		o.list = append(o.list, name)
	}
	for _, p := range post {
		o.visit(p)
	}
}
