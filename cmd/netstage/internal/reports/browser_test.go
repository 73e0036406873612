package reports

import (
	"bytes"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"log/slog"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"netstage/stage1/fault"
	"netstage/stage1/report"
)

var update = flag.Bool("update", false, "write docs/reports.png anew")

// fleet are boots as a rack has them.
func fleet() []report.Report {
	node := func(n int, ms ...int64) report.Report {
		r := report.Report{
			State: report.Good, Agent: "1.0", Kernel: "6.12.30", StartMS: 2600,
			Machine: report.Machine{
				Vendor: "ACME", Product: "Node 4", Serial: fmt.Sprintf("A7K%04d", 1130+n), Hostname: fmt.Sprintf("node%02d", n),
				MACs: []string{fmt.Sprintf("52:54:00:12:34:%02x", n)},
			},
			Network: &report.Lease{Link: "eth0", Address: fmt.Sprintf("10.0.2.%d/24", 10+n)},
			Image:   &report.Image{Source: "http://10.0.2.2:8080/nix-store.squashfs", Size: 412 << 20},
		}
		at := r.StartMS
		for i, d := range ms {
			r.Steps = append(r.Steps, report.Step{Name: steps[i], StartMS: at, DurationMS: d})
			at += d
		}
		r.DurationMS = at - r.StartMS
		return r
	}
	fail := func(r report.Report, class fault.Class, cause string) report.Report {
		last := &r.Steps[len(r.Steps)-1]
		last.Failure = class
		r.State, r.Image, r.Failure = report.Failed, nil, &fault.Failure{Class: class, Cause: cause, Step: last.Name}
		return r
	}
	slow := node(3, 13, 9, 4, 271, 3412, 41730, 70, 40)
	slow.Download = &report.Download{Retries: 4}
	check := node(4, 13, 9, 4, 280, 190, 4020, 66, 38)
	check.State = report.Check
	mismatch := fail(node(6, 12, 8, 4, 240, 200, 61200), "mismatch", "image: sha256 is 5f1e2c04… and not a0c9617b…, from 10.0.2.2:8080")
	return []report.Report{
		node(1, 13, 9, 4, 268, 188, 3730, 62, 44), node(2, 12, 9, 4, 301, 204, 3655, 60, 41), slow, check,
		fail(node(5, 12, 8, 4, 252, 62000), "no-lease", "network: nobody answers DHCP on eth0; 9 requests in 62 s"), mismatch,
	}
}

// A real browser shows the page as it is meant, and runs nothing that a machine
// sent.
func TestPageInABrowser(t *testing.T) {
	browser, err := exec.LookPath("chromium-headless-shell")
	if err != nil {
		t.Skip("no browser: chromium-headless-shell is not installed")
	}
	s, _ := open(t)
	if _, err := s.Add(encode(t, fleet()[0]), "192.0.2.1", time.Now().Add(-26*time.Hour)); err != nil { // an earlier boot of the first
		t.Fatal(err)
	}
	for i, r := range fleet() {
		if _, err := s.Add(encode(t, r), "192.0.2.1", time.Now().Add(-time.Duration(i)*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewServer(Handler{Store: s, Log: slog.New(slog.DiscardHandler), Nonces: NewNonces()})
	defer server.Close()
	run := func(args ...string) []byte {
		cmd := exec.CommandContext(t.Context(), browser, append([]string{
			"--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir=" + t.TempDir(), "--timeout=20000",
		}, args...)...)
		cmd.Dir = t.TempDir()
		var messages bytes.Buffer
		cmd.Stderr = &messages
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v\n%s", err, &messages)
		}
		return out
	}
	shot := filepath.Join(t.TempDir(), "page.png")
	run("--window-size=1180,650", "--hide-scrollbars", "--screenshot="+shot, server.URL+"/reports/")
	look(t, shot)

	evil := fleet()[5]
	evil.Machine.Hostname = `<img src=x onerror="document.title='owned'">`
	if _, err := s.Add(encode(t, evil), "192.0.2.1", time.Now()); err != nil {
		t.Fatal(err)
	}
	dom := string(run("--dump-dom", server.URL+"/reports"))
	if n := strings.Count(dom, "<tr id="); n != len(fleet()) {
		t.Errorf("%d machines", n)
	}
	for _, want := range []string{"<title>Boots · 2 failed · 1 check · 3 good</title>", "&lt;img src=x onerror=", `<i class="image" style="width: 9`, "earlier:"} {
		if !strings.Contains(dom, want) {
			t.Errorf("no %q in the page", want)
		}
	}
	if strings.Contains(dom, "<img") || regexp.MustCompile(`<tr id="52-54-00-12-34-0[1-4]"(?s:.*)<tr id="52-54-00-12-34-0[56]"`).MatchString(dom) || t.Failed() {
		t.Errorf("%s", dom)
	}
}

// look finds the bars on a picture of the page, in the colours of their steps.
func look(t *testing.T, shot string) {
	t.Helper()
	picture, err := os.ReadFile(shot)
	if err != nil {
		t.Fatal(err)
	}
	colours := coloursOf(t, picture)
	for name, c := range map[string]color.RGBA{"image": {0xe3, 0x9b, 0x2d, 0xff}, "network": {0x2a, 0x8f, 0xbd, 0xff}, "devices": {0x7e, 0x57, 0xc2, 0xff}} {
		if colours[c] < 100 {
			t.Errorf("the bars show %d pixels of step %s", colours[c], name)
		}
	}
	if *update {
		writeSmall(t, "../../../../docs/reports.png", picture)
	}
}

// writeSmall writes a picture with its 64 most frequent colours.
func writeSmall(t *testing.T, name string, text []byte) {
	picture, err := png.Decode(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	found := coloursOf(t, text)
	frequent := slices.SortedFunc(maps.Keys(found), func(a, b color.RGBA) int { return found[b] - found[a] })
	var palette color.Palette
	for _, c := range frequent[:min(len(frequent), 64)] {
		palette = append(palette, c)
	}
	small := image.NewPaletted(picture.Bounds(), palette)
	draw.Draw(small, small.Bounds(), picture, image.Point{}, draw.Src)
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, small); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func coloursOf(t *testing.T, text []byte) map[color.RGBA]int {
	picture, err := png.Decode(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	found := map[color.RGBA]int{}
	for y := range picture.Bounds().Dy() {
		for x := range picture.Bounds().Dx() {
			r, g, b, a := picture.At(x, y).RGBA()
			found[color.RGBA{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8), uint8(a >> 8)}]++
		}
	}
	return found
}
