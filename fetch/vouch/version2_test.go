package vouch

import (
	"errors"
	"testing"
	"time"

	"aead.dev/minisign"

	"netstage/fetch/faulty"
	"netstage/fetch/manifest"
	"netstage/stage1/fault"
)

// put serves a document with the signatures of some keys.
func put(t *testing.T, s *faulty.Server, name string, body []byte, secrets ...minisign.PrivateKey) {
	t.Helper()
	var all []byte
	for _, secret := range secrets {
		one, err := manifest.Sign(secret, body, "test")
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, one...)
	}
	s.Add(name, body)
	s.Add(name+manifest.Suffix, all)
}

func body(t *testing.T, m interface{ Marshal() ([]byte, error) }) []byte {
	t.Helper()
	b, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Each of the rules of version 2, by itself.
func TestVersion2(t *testing.T) {
	w := newWorld(t, "image")
	s := w.serve(t)
	a, secretA := newKey(t, "a.pub")
	b, secretB := newKey(t, "b.pub")
	created := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	signed := func(change func(*manifest.Manifest)) manifest.Manifest {
		m := manifest.Manifest{Type: manifest.Type, Version: 2, Serial: 5, Name: "web", Created: created, Init: initPath,
			Images: []manifest.Image{{Path: "image", Size: int64(len(w.content)), SHA256: w.digest, RootHash: w.root}}}
		if change != nil {
			change(&m)
		}
		return m
	}
	booted := func(serials map[string]uint64) func(string) uint64 {
		return func(name string) uint64 { return serials[name] }
	}
	list := func(keys manifest.Keys, threshold int, serial uint64) []byte {
		l := manifest.NewKeyList(keys, threshold, serial, created)
		return body(t, &l)
	}
	for _, c := range []struct {
		name        string
		manifest    manifest.Manifest
		by          []minisign.PrivateKey
		list        []byte // signed by the key a
		order       func(*Order)
		class, says string // "": it is taken
	}{
		{"as it should be", signed(nil), nil, nil, nil, "", ""},
		{"another name", signed(nil), nil, nil, func(o *Order) { o.Name = "db" }, "policy", `of "web", and "db" is wanted`},
		{"the name", signed(nil), nil, nil, func(o *Order) { o.Name = "web" }, "", ""},
		{"replayed", signed(nil), nil, nil, func(o *Order) { o.Highest = booted(map[string]uint64{"web": 6}) }, "rollback", "serial 5, and this machine has booted serial 6"},
		{"the same again", signed(nil), nil, nil, func(o *Order) { o.Highest = booted(map[string]uint64{"web": 5, "db": 9}) }, "", ""},
		{"version 1 replayed", signed(func(m *manifest.Manifest) { m.Type, m.Version, m.Serial = "", 0, 0 }), nil, nil,
			func(o *Order) { o.Highest = booted(map[string]uint64{"web": 5}) }, "rollback", "serial 0"},
		{"version 1", signed(func(m *manifest.Manifest) { m.Type, m.Version, m.Serial = "", 0, 0 }), nil, nil, nil, "", ""},
		{"version 1 where 2 is wanted", signed(func(m *manifest.Manifest) { m.Type, m.Version, m.Serial = "", 0, 0 }), nil, nil,
			func(o *Order) { o.Version = 2 }, "policy", "version 1 of the format"},
		{"over", signed(func(m *manifest.Manifest) { m.NotAfter = created.Add(time.Minute) }), nil, nil, nil, "policy", "held until"},
		{"not yet", signed(func(m *manifest.Manifest) { m.NotBefore = created.Add(2 * time.Hour) }), nil, nil, nil, "policy", "holds from"},
		{"another's clock", signed(nil), nil, nil, func(o *Order) {
			o.Valid = func(string, time.Time, time.Time, time.Time) error { return fault.Errorf(fault.Policy, "no time") }
		}, "policy", "no time"},
		{"the command line", signed(func(m *manifest.Manifest) { m.Cmdline = []string{"quiet"} }), nil, nil, func(o *Order) {
			o.Cmdline = func(patterns []string) error {
				if len(patterns) != 1 || patterns[0] != "quiet" {
					return errors.New("other patterns")
				}
				return fault.Errorf(fault.Policy, "not allowed")
			}
		}, "policy", "not allowed"},
		{"unknown and critical", signed(func(m *manifest.Manifest) { m.Critical = []string{"serial"} }), nil, nil, nil, "", ""},
		{"one of two", signed(nil), nil, nil, func(o *Order) { o.Threshold = 2 }, "signature", "2 keys have to sign"},
		{"two of two", signed(nil), []minisign.PrivateKey{secretB, secretA}, nil, func(o *Order) { o.Threshold = 2 }, "", ""},
		{"a key of the list", signed(nil), []minisign.PrivateKey{secretB}, list(manifest.Keys{b}, 1, 2), nil, "", ""},
		{"a key that the list has no more", signed(nil), []minisign.PrivateKey{secretA}, list(manifest.Keys{b}, 1, 2), nil, "signature", "trusted are b.pub"},
		{"fewer than the list wants", signed(nil), []minisign.PrivateKey{secretB}, list(manifest.Keys{a, b}, 2, 2), nil, "signature", "2 keys have to sign"},
		{"an older list", signed(nil), []minisign.PrivateKey{secretB}, list(manifest.Keys{b}, 1, 2),
			func(o *Order) { o.Highest = booted(map[string]uint64{manifest.KeyLists: 3}) }, "rollback", "serial 2, and this machine has booted serial 3"},
		{"the list left out", signed(nil), nil, nil, func(o *Order) { o.Highest = booted(map[string]uint64{manifest.KeyLists: 3}) }, "rollback", "by a key list before"},
		{"a manifest as a list", signed(nil), nil, w.body, nil, "manifest", "not a key list"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.by == nil {
				c.by = []minisign.PrivateKey{secretA}
			}
			put(t, s, "dir/two.manifest", body(t, &c.manifest), c.by...)
			o, _ := order(t)
			o.Manifests, o.Keys = places(s.URL("dir/two.manifest")), manifest.Keys{a}
			if c.name == "two of two" || c.name == "one of two" {
				o.Keys = append(o.Keys, b)
			}
			if c.list != nil {
				put(t, s, "dir/keys.list", c.list, secretA)
				o.KeyLists = places(s.URL("dir/keys.list"))
			}
			if c.order != nil {
				c.order(&o)
			}
			if c.class != "" {
				mustRefuse(t, o, c.class, c.says)
				return
			}
			i := w.mustGet(t, o)
			if want := uint64(0); c.list != nil {
				if want = 2; i.Signed.List != want {
					t.Errorf("key list %d, want %d", i.Signed.List, want)
				}
			}
		})
	}
}
