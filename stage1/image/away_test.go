package image

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"netstage/debug/sentence"
	"netstage/fetch/vouch"
	"netstage/stage1/config"
	"netstage/stage1/fault"
)

// offlineOrNot gets today's image of a machine that kept it yesterday and
// trusts its key, and tells how that ends.
func offlineOrNot(t *testing.T, e edition, line string, policy config.Policy, seen time.Time) (*Image, string, error) {
	t.Helper()
	disk := t.TempDir()
	e.keepOn(t, disk, seen)
	g, log := cached(t, line, disk, map[string]string{"etc/netstage/trusted.d/ops.pub": string(e.public)})
	g.Config.Policy = policy
	image, err := g.getOrNot(t, "no earlier one is used")
	return image, log.String(), err
}

// getOrNot is Get, which ends once it says that.
func (g *Getter) getOrNot(t *testing.T, until string) (*Image, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	before := g.Log
	g.Log = slog.New(sentence.NewHandler(slog.LevelInfo, func(l sentence.Line) error {
		before.Log(ctx, l.Level, l.Text)
		if strings.Contains(l.Text, until) {
			cancel()
		}
		return nil
	}))
	image, err := g.Get(ctx)
	if err == nil {
		t.Cleanup(func() { image.Close() })
	}
	return image, err
}

var month = config.Policy{LastGood: true, LastGoodFor: 30 * 24 * time.Hour}

// Servers that bring nothing are away, whyever. What a server brings and is
// wrong ends the boot, as without a disk. docs/cache.md has the same table.
func TestWhoIsAway(t *testing.T) {
	e, other := editions(t)
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	// files has what is right, and others in its place.
	files := func(change map[string][]byte) http.HandlerFunc {
		all := map[string][]byte{"/image": e.content, "/image.verity": e.tree, "/web.manifest": e.body, "/web.manifest.minisig": e.signature}
		maps.Copy(all, change)
		return func(w http.ResponseWriter, r *http.Request) {
			if all[r.URL.Path] == nil {
				http.NotFound(w, r)
				return
			}
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(all[r.URL.Path]))
		}
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		url     string      // instead of the server's
		class   fault.Class // of the failure; empty: the last good image is booted
	}{
		"401": {handler: status(401)}, "403": {handler: status(403)}, "404": {handler: status(404)}, "410": {handler: status(410)},
		"500": {handler: status(500)}, "503": {handler: status(503)},
		"a circle":                 {handler: func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }},
		"ended without an answer":  {handler: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
		"no answer":                {handler: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
		"nobody listens":           {url: "http://127.0.0.1:1/"},
		"a name that nobody knows": {url: "http://images.invalid/"},
		"no TLS there":             {handler: status(404), url: "https"},
		"no manifest":              {handler: files(map[string][]byte{"/web.manifest": nil})},
		"no signature":             {handler: files(map[string][]byte{"/web.manifest.minisig": nil})},
		"no tree":                  {handler: files(map[string][]byte{"/image.verity": nil})},

		"a page for everything":            {handler: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>welcome</html>") }, class: fault.Signature},
		"another manifest than was signed": {handler: files(map[string][]byte{"/web.manifest": other.body}), class: fault.Signature},
		"signed by somebody else":          {handler: files(map[string][]byte{"/web.manifest": other.body, "/web.manifest.minisig": other.signature}), class: fault.Signature},
		"another tree":                     {handler: files(map[string][]byte{"/image.verity": other.tree}), class: fault.Mismatch},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := c.url
			if c.handler != nil {
				server := httptest.NewServer(c.handler)
				t.Cleanup(server.Close)
				url = c.url + strings.TrimPrefix(server.URL+"/", map[bool]string{true: "http"}[c.url != ""])
			}
			image, log, err := offlineOrNot(t, e, "rootfs.manifest="+url+"web.manifest", month, time.Now().Add(-24*time.Hour))
			switch {
			case c.class == "" && (err != nil || image.Report.OfflineHours == nil || image.Init != editionInit):
				t.Errorf("%v\n%s", err, log)
			case c.class != "" && (fault.ClassOf(err) != c.class || strings.Contains(log, "booting")):
				t.Errorf("%v, want %s\n%s", err, c.class, log)
			}
		})
	}
}

// The document has the classes of either kind.
func TestTableOfWhoIsAway(t *testing.T) {
	text, err := os.ReadFile("../../docs/cache.md")
	if err != nil {
		t.Fatal(err)
	}
	for end, want := range map[string][]fault.Class{"the last good image": append(slices.Clone(awayClasses), "http-…"), "the boot fails": refusedClasses} {
		var told []fault.Class
		for _, row := range regexp.MustCompile(`(?m)^\|[^|]*\|([^|]*)\| `+end+` \|$`).FindAllStringSubmatch(string(text), -1) {
			for class := range strings.FieldsSeq(strings.ReplaceAll(row[1], "`", "")) {
				told = append(told, fault.Class(class))
			}
		}
		slices.Sort(told)
		want = slices.Clone(want)
		slices.Sort(want)
		if !slices.Equal(told, want) {
			t.Errorf("%s: docs/cache.md has\n%q\nand the agent\n%q", end, told, want)
		}
	}
}

// A clock that is wrong makes no image young.
func TestLastGoodByClock(t *testing.T) {
	e, _ := editions(t)
	server := e.serve(t)
	server.Close()
	line := "rootfs.manifest=" + server.URL("web.manifest")
	for name, c := range map[string]struct {
		seen  time.Duration // from now
		limit time.Duration
		says  string
		boots bool
	}{
		"an hour ago":                    {-time.Hour, month.LastGoodFor, "which a server last had 0.0 days ago", true},
		"in an hour, of another zone":    {time.Hour, month.LastGoodFor, "which a server last had 0.0 days ago", true},
		"29 days ago":                    {-29 * 24 * time.Hour, month.LastGoodFor, "which a server last had 29.0 days ago", true},
		"31 days ago":                    {-31 * 24 * time.Hour, month.LastGoodFor, "a server last had it 31.0 days ago, and the policy allows 30.0 days", false},
		"the clock is in the far future": {-70 * 365 * 24 * time.Hour, month.LastGoodFor, "25550.0 days ago, and the policy allows 30.0 days", false},
		"there is no clock":              {56 * 365 * 24 * time.Hour, month.LastGoodFor, `how long ago that is nobody knows, and the policy allows 30.0 days (a machine without a clock wants "offline_days": 36500)`, false},
		"there is none, for ever":        {56 * 365 * 24 * time.Hour, config.LastGoodForEver, "which a server last had who knows when, at 20", true},
		"for ever":                       {-90 * 365 * 24 * time.Hour, config.LastGoodForEver, "which a server last had 32850.0 days ago", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			image, log, err := offlineOrNot(t, e, line, config.Policy{LastGood: true, LastGoodFor: c.limit}, time.Now().Add(c.seen))
			if err == nil && (*image.Report.OfflineHours == -1) != strings.Contains(c.says, "who knows when") {
				t.Errorf("the report has %d hours", *image.Report.OfflineHours)
			}
			if (err == nil) != c.boots || !strings.Contains(log, c.says) {
				t.Errorf("%v, no %q in\n%s", err, c.says, log)
			}
		})
	}
}

// A disk that hangs while its image is copied is left, and the servers are asked
// on.
func TestPatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wake := make(chan struct{})
		r := vouch.Patient(io.MultiReader(strings.NewReader("abc"), hangs(wake)), 20*time.Second)
		got, err := io.ReadAll(r)
		if string(got) != "abc" || fault.ClassOf(err) != fault.Stalled {
			t.Errorf("%q, %v", got, err)
		}
		close(wake)
		synctest.Wait()
		if n, err := r.Read(make([]byte, 10)); n != 0 || fault.ClassOf(err) != fault.Stalled {
			t.Errorf("then %d, %v", n, err)
		}
	})
}

type hangs chan struct{}

func (h hangs) Read([]byte) (int, error) { <-h; return 0, io.EOF }

// What others did to the disk, and what is of no use on it, is told and left.
func TestOddCacheDisks(t *testing.T) {
	yesterday, today := editions(t)
	remake := func(name string, kind uint32) error {
		return errors.Join(os.Remove(name), unix.Mknod(name, kind|0o600, int(unix.Mkdev(1, 5)))) // /dev/zero's
	}
	for name, spoil := range map[string]func(dir, slot string) error{
		"a pipe for the image":   func(_, slot string) error { return remake(slot+"/image", unix.S_IFIFO) },
		"a device for the image": func(_, slot string) error { return remake(slot+"/image", unix.S_IFCHR) },
		"a link for the image": func(_, slot string) error {
			return errors.Join(os.Remove(slot+"/image"), os.Symlink("/dev/zero", slot+"/image"))
		},
		"a folder for the image": func(_, slot string) error {
			return errors.Join(os.Remove(slot+"/image"), os.Mkdir(slot+"/image", 0o700))
		},
		"a link to another name of it": func(dir, slot string) error { return os.Link(slot+"/image", dir+"/other") },
		"no tree":                      func(_, slot string) error { return os.Remove(slot + "/tree") },
		"a record of 1 GiB":            func(_, slot string) error { return os.Truncate(slot+"/record.json", 1<<30) },
		"a record of the future":       func(_, slot string) error { return os.WriteFile(slot+"/record.json", []byte(`{"version":7}`), 0o600) },
		"somebody else's image": func(_, slot string) error {
			return os.WriteFile(slot+"/image", make([]byte, len(yesterday.content)), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk, server := t.TempDir(), today.serve(t)
			yesterday.keepOn(t, disk, time.Now())
			if err := spoil(disk, disk+"/netstage-images/0"); err != nil {
				t.Fatal(err)
			}
			g, log := cached(t, line(server, today), disk, nil)
			g.mustGet(t, log, today)
			// Without a server it is booted where it is whole, and else not.
			server.Close()
			whole := strings.HasPrefix(name, "a link to")
			g, log = cached(t, line(server, yesterday), disk, nil)
			g.Config.Policy = month
			until := "connection refused" // of a disk with nothing to fall back to
			if whole || strings.HasPrefix(name, "no tree") || strings.HasPrefix(name, "somebody") {
				until = "no earlier one is used"
			}
			if _, err := g.getOrNot(t, until); (err == nil) != whole {
				t.Errorf("without a server: %v\n%s", err, log)
			}
		})
	}
}
