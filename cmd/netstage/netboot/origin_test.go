package netboot

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"netstage/debug/sentence"
)

// TestBehindProxies: machines are sent to where they reach the server.
func TestBehindProxies(t *testing.T) {
	files := map[string]string{"bzImage": "k", "initrd": "i", "x.squashfs": "x", "aa-bb-cc-dd-ee-ff/cmdline": "quiet"}
	forwarded := http.Header{"X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"boot.example"}, "X-Forwarded-Prefix": {"/racks/"}}
	for name, test := range map[string]struct {
		options Options
		header  http.Header
		want    []string
	}{
		"nobody asked":         {Options{}, forwarded, []string{"rootfs.base=http://10.0.0.1/ ", "kernel /bzImage ", "initrd /initrd ", "boot.report=http://10.0.0.1/reports "}},
		"forwarded":            {Options{Forwarded: true}, forwarded, []string{"rootfs.base=https://boot.example/racks/ ", "kernel /racks/bzImage ", "initrd /racks/initrd ", "boot.report=https://boot.example/racks/reports "}},
		"forwarded, nothing":   {Options{Forwarded: true}, nil, []string{"rootfs.base=http://10.0.0.1/ ", "kernel /bzImage "}},
		"forwarded, hostile":   {Options{Forwarded: true}, http.Header{"X-Forwarded-Host": {"x\ny"}, "X-Forwarded-Prefix": {"/a b"}}, []string{"kernel /bzImage ", "!rootfs.base"}},
		"forwarded, a list":    {Options{Forwarded: true}, http.Header{"X-Forwarded-Proto": {"https, http"}, "X-Forwarded-Host": {"a.example, b"}}, []string{"rootfs.base=https://a.example/ "}},
		"told":                 {Options{URL: "https://boot.example/racks/"}, nil, []string{"rootfs.base=https://boot.example/racks/ ", "kernel /racks/bzImage "}},
		"told, whatever comes": {Options{URL: "https://boot.example/", Forwarded: true}, forwarded, []string{"rootfs.base=https://boot.example/ ", "kernel /bzImage "}},
	} {
		t.Run(name, func(t *testing.T) {
			o := test.options
			o.Dir, o.Reports, o.Log = folder(t, files), true, slog.New(slog.DiscardHandler)
			s, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			r := httptest.NewRequest("GET", "/boot.ipxe?mac=00-00-00-00-00-01", nil)
			r.Host = "10.0.0.1"
			for key, value := range test.header {
				r.Header[key] = value
			}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			for _, want := range test.want {
				if not, absent := strings.CutPrefix(want, "!"); absent == strings.Contains(w.Body.String(), not) {
					t.Errorf("want %q in\n%s", want, w.Body)
				}
			}
			chain := httptest.NewRecorder()
			r.URL.RawQuery = ""
			s.ServeHTTP(chain, r)
			if strings.Contains(test.want[0], "/racks/") != strings.Contains(chain.Body.String(), "chain /racks/boot.ipxe?mac=") {
				t.Errorf("the first script is\n%s", chain.Body)
			}
		})
	}
}

func TestParseURL(t *testing.T) {
	for text, want := range map[string]string{
		"https://boot.example":         "https://boot.example/",
		"https://boot.example/":        "https://boot.example/",
		"http://[fd00::1]:8080/a/b":    "http://[fd00::1]:8080/a/b/",
		"ftp://x":                      "",
		"boot.example":                 "",
		"https://user:secret@example/": "",
		"https://example/?a":           "",
		"https://example/a b":          "",
		"https://example/${x}":         "",
		"https:///x":                   "",
	} {
		if got, err := ParseURL(text); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
}

// TestLongLines holds the whole line against what kernels keep, and not the
// operator's part of it.
func TestLongLines(t *testing.T) {
	base := map[string]string{"bzImage": "k", "initrd": "i", "x.squashfs": "x"}
	script := func(more int, verified bool) (string, string) {
		files := map[string]string{"cmdline": "init=/x " + strings.Repeat("x", more)}
		for name, text := range base {
			files[name] = text
		}
		if verified {
			files["x.squashfs.sha256"] = digest
		}
		var log buffer
		s, err := New(Options{Dir: folder(t, files), Log: slog.New(sentence.NewHandler(slog.LevelInfo, sentence.To(&log)))})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/boot.ipxe", nil)
		r.Host = "10.0.0.1"
		s.ServeHTTP(w, r)
		return w.Body.String(), log.String()
	}
	const refused = "kernels cut it at 2047"
	line, _ := script(1, true)
	_, line, _ = strings.Cut(line, "kernel /bzImage ")
	line, _, _ = strings.Cut(line, " || ")
	fits := mostCmdline - len(line) + len("${netX/mac:hexhyp}") - len("aa-bb-cc-dd-ee-ff") + 1
	if text, _ := script(fits, true); strings.Contains(text, refused) {
		t.Errorf("a line of %d characters is refused:\n%s", mostCmdline, text)
	}
	if text, _ := script(fits+1, true); !strings.Contains(text, refused) {
		t.Errorf("a line of %d characters, whose digest could be cut off, is served:\n%s", mostCmdline+1, text)
	}
	if text, log := script(fits+300, false); strings.Contains(text, refused) || !strings.Contains(log, refused) {
		t.Errorf("a long line that vouches for nothing is warned of:\n%s\n%s", text, log)
	}
}

// TestWhatIsVouchedFor: an image that is fetched from elsewhere is vouched for
// by what lies beside it here.
func TestWhatIsVouchedFor(t *testing.T) {
	pin := "rootfs.roothash=" + strings.Repeat("ab", 32)
	for name, test := range map[string]struct {
		cmdline, want string
		warnings      int
	}{
		"a URL of this image":   {"init=/x rootfs=https://cdn.example/v1/nix-store.squashfs", pin, 0},
		"its mirrors":           {"init=/x rootfs=http://a/nix-store.squashfs rootfs=http://b/nix-store.squashfs?x=1", pin, 0},
		"another image":         {"init=/x rootfs=http://a/other.squashfs", "", 1},
		"mirrors of two":        {"init=/x rootfs=http://a/nix-store.squashfs rootfs=http://b/other.squashfs", "", 1},
		"the operator's digest": {"init=/x rootfs=http://a/nix-store.squashfs rootfs.sha256=" + digest, "rootfs.sha256=" + digest, 0},
		"a manifest":            {"rootfs.manifest=http://a/x.manifest", "", 0},
		"no init":               {"quiet", pin, 1},
	} {
		t.Run(name, func(t *testing.T) {
			dir := bootFolder(t, map[string]string{"cmdline": test.cmdline})
			_, warnings, err := WriteScripts(t.Context(), dir, false)
			if err != nil || len(warnings) != test.warnings {
				t.Fatalf("%v, warnings %q", err, warnings)
			}
			for _, script := range []string{"boot.ipxe", "refind.conf", "kexec-boot"} {
				text, err := os.ReadFile(filepath.Join(dir, script))
				if err != nil {
					t.Fatal(err)
				}
				if test.want != "" && !strings.Contains(string(text), test.want) || test.want == "" && strings.Contains(string(text), pin) {
					t.Errorf("%s: want %q in\n%s", script, test.want, text)
				}
			}
		})
	}
}

// TestSecretsAreNotServed: neither keys, nor what only their owner may read.
func TestSecretsAreNotServed(t *testing.T) {
	dir := folder(t, map[string]string{"ops.key": "secret", "ops.pub": "public", "ssh_host_ed25519_key": "secret", "private": "secret"})
	if err := os.Chmod(filepath.Join(dir, "private"), 0o640); err != nil {
		t.Fatal(err)
	}
	url, _ := serve(t, Options{Dir: dir})
	for name, want := range map[string]int{"ops.key": 403, "ops.pub": 200, "ssh_host_ed25519_key": 403, "private": 403} {
		if r, body := get(t, url+"/"+name); r.StatusCode != want || strings.Contains(body, "secret") && want != 200 {
			t.Errorf("%s: %s %q", name, r.Status, body)
		}
	}
}
