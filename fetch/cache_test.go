package fetch

import (
	"net"
	"strings"
	"testing"

	"netstage/fetch/faulty"
	"netstage/fetch/ref"
)

// throughCache is a request for an image of s, and a cache.
func throughCache(t *testing.T, content []byte, s *faulty.Server, cache string) (Request, *story) {
	t.Helper()
	r, log := quick(t, content, s.URL("dir/image"))
	var err error
	if r.Cache, err = ref.ParseURL(cache); err != nil {
		t.Fatal(err)
	}
	return r, log
}

func TestCacheIsAskedFirst(t *testing.T) {
	content := imageBytes(3 << 20)
	origin, cache := serve(t, content), serve(t, content)
	r, _ := throughCache(t, content, origin, cache.URL("c/"))
	image := mustGet(t, r, content)
	if len(origin.Log()) != 0 || len(cache.Log()) != 1 || cache.Log()[0].Path != "/c/http/"+origin.Addr()+"/dir/image" {
		t.Errorf("origin %+v, cache %+v", origin.Log(), cache.Log())
	}
	if !strings.Contains(image.Source, cache.Addr()) {
		t.Errorf("source %s", image.Source)
	}
	// What nothing vouches for is not had from anybody.
	origin, cache = serve(t, content), serve(t, content)
	r, _ = throughCache(t, content, origin, cache.URL("c/"))
	r.SHA256 = nil
	if _, err := Get(soon(t), r); err != nil || len(cache.Log()) != 0 {
		t.Errorf("%v; the cache was asked %d times", err, len(cache.Log()))
	}
}

// A cache that fails or lies is passed over, and named.
func TestCacheIsPassedOver(t *testing.T) {
	content := imageBytes(3 << 20)
	for name, c := range map[string]struct {
		script []faulty.Behaviour
		says   string
	}{
		"not there":   {[]faulty.Behaviour{{Status: 404, Times: -1}}, "404"},
		"refuses":     {[]faulty.Behaviour{{Status: 403, Times: -1}}, "403"},
		"overloaded":  {[]faulty.Behaviour{{Status: 503, Times: -1}}, "503"},
		"lies":        {[]faulty.Behaviour{{Flip: []int64{2 << 20}, Times: -1}}, "sha256 is"},
		"breaks":      {[]faulty.Behaviour{{End: faulty.EndReset, Cut: 1 << 20}, {Status: 500, Times: -1}}, "next try from"},
		"another one": {[]faulty.Behaviour{{Length: 100, Cut: 100, End: faulty.EndClose, Times: -1}}, "next try from"},
	} {
		t.Run(name, func(t *testing.T) {
			origin, cache := serve(t, content), serve(t, content, c.script...)
			r, log := throughCache(t, content, origin, cache.URL(""))
			mustGet(t, r, content)
			if text := log.String(); len(origin.Log()) == 0 || !strings.Contains(text, c.says) || !strings.Contains(text, cache.Addr()) {
				t.Errorf("no %q of %s in\n%s", c.says, cache.Addr(), text)
			}
		})
	}
	// One that is switched off costs a dial.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	origin := serve(t, content)
	r, _ := throughCache(t, content, origin, "http://"+l.Addr().String()+"/")
	mustGet(t, r, content)
}

// A password is not sent to the cache, nor is a token.
func TestCacheLearnsNoSecret(t *testing.T) {
	content := imageBytes(1000)
	origin, cache := serve(t, content), serve(t, content, faulty.Behaviour{Status: 404, Times: -1})
	r, _ := quick(t, content, strings.Replace(origin.URL("image"), "http://", "http://joe:geheim@", 1))
	var err error
	if r.Cache, err = ref.ParseURL(cache.URL("")); err != nil {
		t.Fatal(err)
	}
	mustGet(t, r, content)
	if len(cache.Log()) != 0 || len(origin.Log()) != 1 || origin.Log()[0].Auth == "" {
		t.Errorf("cache %+v, origin %+v", cache.Log(), origin.Log())
	}
}
