package sshd

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestKeys(t *testing.T) {
	dir := t.TempDir()
	host, line := newKey(t, filepath.Join(dir, "host"))
	for name, test := range map[string]struct {
		host       []byte
		authorized string
		want       string
	}{
		"good":           {host, "# one\n\n" + string(line), ""},
		"two":            {host, string(line) + "no-pty-not," + "\n", "line 2: "},
		"empty":          {host, "# nobody\n", "there is no key"},
		"a command":      {host, `command="/bin/date" ` + string(line), `line 1: the option "command=\"/bin/date\"" can't be kept`},
		"from":           {host, `no-port-forwarding,from="10.0.0.1" ` + string(line), "can't be kept"},
		"an authority":   {host, "cert-authority " + string(line), "can't be kept"},
		"DSA":            {host, "ssh-dss AAAAB3NzaC1kc3MAAAAhALJ xx", "line 1: "},
		"no host key":    {nil, string(line), "host key: "},
		"a public key":   {line, string(line), "host key: "},
		"not a key":      {host, "ssh-ed25519 AAAA\n", "line 1: "},
		"a private key!": {host, string(host), "line 1: "},
	} {
		_, err := ParseKeys(test.host, []byte(test.authorized))
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func FuzzAuthorizedKeys(f *testing.F) {
	f.Add([]byte("# x\nno-pty ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0vGnBfjpBhC8FTv2mNMVgUyMoPhoA7iYHSDaZR8fYk x\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if keys, err := parseAuthorized(text); (err == nil) != (len(keys) > 0) {
			t.Errorf("%q: %d keys, %v", text, len(keys), err)
		}
	})
}

func TestTerm(t *testing.T) {
	for term, want := range map[string]bool{"xterm-256color": true, "screen.linux+x": true, "": false, "a b": false, "x\n": false, strings.Repeat("x", 41): false} {
		if validTerm(term) != want {
			t.Errorf("%q", term)
		}
	}
}
