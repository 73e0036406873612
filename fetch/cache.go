package fetch

import (
	"slices"

	"netstage/fetch/internal/mirror"
	"netstage/fetch/ref"
)

// mirrors are those of the request. What is verified here may come from the
// cache, which is asked first: it has a mirror's http://HOST/PATH as
// CACHE/http/HOST/PATH.
func (r Request) mirrors() ([]*mirror.Mirror, *mirror.Fault) {
	var cached []ref.Location
	if r.Cache.Kind == ref.URL && !r.Untrusted && r.trusting() {
		for _, l := range r.Mirrors {
			if c, ok := l.Through(r.Cache); ok {
				cached = append(cached, c)
			}
		}
	}
	list, err := mirror.New(slices.Concat(cached, r.Mirrors), r.Proxy)
	if err != nil {
		return nil, err
	}
	for _, m := range list {
		m.Near = slices.ContainsFunc(cached, m.Location.Equal)
	}
	return list, nil
}
