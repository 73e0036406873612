package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The command lines of the documentation, against a server that asks for a
// token: image, tree and signed manifest are what the tool itself made.
func TestFetchAsDocumented(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for name, text := range map[string][]byte{"image": content, "token": []byte("geheim\n"), "key": []byte("two words\n")} {
		if err := os.WriteFile(file(name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const init = "/nix/store/x/init"
	for _, args := range [][]string{
		{"keygen", "-o", file("ops"), "--no-password"},
		{"keygen", "-o", file("other"), "--no-password"},
		{"sign", file("image"), "--init", init, "--key", file("ops.key"), "--name", "web", "-o", file("web.manifest")},
	} {
		if status, _, stderr := runTool(args...); status != exitOK {
			t.Fatalf("%v: %s", args, stderr)
		}
	}
	files := http.FileServer(http.Dir(dir))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer geheim" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		files.ServeHTTP(w, r)
	}))
	defer server.Close()
	url, digest := server.URL+"/", fmt.Sprintf("%x", sha256.Sum256(content))
	token := []string{"--token", file("token")}
	for name, test := range map[string]struct {
		args  []string
		fails string
	}{
		"digest":             {append(token, url+"image", "--sha256", digest), ""},
		"manifest":           {append(token, "--manifest", url+"web.manifest", "--trusted", file("ops.pub")), ""},
		"all":                {append(token, url+"image", "--manifest", url+"web.manifest", "--trusted", file("ops.pub"), "--sha256", digest, "--init", init, "--timeout", "1m"), ""},
		"another key":        {append(token, "--manifest", url+"web.manifest", "--trusted", file("other.pub")), "signature: "},
		"another init":       {append(token, "--manifest", url+"web.manifest", "--trusted", file("ops.pub"), "--init", "/bin/sh"), "policy: "},
		"manifest of old":    {append(token, "--manifest", url+"web.manifest", "--trusted", file("ops.pub"), "--newer", "2999-01-01"), "policy: "},
		"no token":           {[]string{url + "image"}, "http-401: "},
		"empty digest":       {append(token, url+"image", "--sha256", ""), "--sha256"},
		"empty root hash":    {append(token, url+"image", "--roothash="), "--roothash"},
		"empty init":         {append(token, "--manifest", url+"web.manifest", "--trusted", file("ops.pub"), "--init", ""), "--init"},
		"token that is none": {[]string{url + "image", "--token", file("key")}, "it is not one token"},
	} {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			status, stdout, stderr := runTool(append([]string{"fetch", "-o", out}, test.args...)...)
			got, _ := os.ReadFile(out)
			if test.fails == "" && (status != exitOK || stdout != digest+"  "+out+"\n" || !bytes.Equal(got, content)) {
				t.Errorf("status %d, %q, %d bytes\n%s", status, stdout, len(got), stderr)
			}
			if test.fails != "" && (status == exitOK || len(got) > 0 || !strings.Contains(stderr, test.fails)) {
				t.Errorf("status %d, %d bytes, no %q in\n%s", status, len(got), test.fails, stderr)
			}
			if strings.Contains(stderr, "geheim") {
				t.Errorf("the token is told:\n%s", stderr)
			}
		})
	}
}
