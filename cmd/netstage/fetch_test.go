package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"netstage/fetch/faulty"
	"netstage/fetch/verity"
)

func serveFaulty(t *testing.T, content []byte, script ...faulty.Behaviour) *faulty.Server {
	t.Helper()
	s, err := faulty.Listen("127.0.0.1:0", content, script...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// runTool runs the tool in this process.
func runTool(args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = run(args, streams{nil, &out, &errs})
	return status, out.String(), errs.String()
}

func TestFetch(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	digest := fmt.Sprintf("%x", sha256.Sum256(content))
	var tree bytes.Buffer
	root, err := verity.Build(bytes.NewReader(content), int64(len(content)), &tree, verity.Options{})
	if err != nil {
		t.Fatal(err)
	}
	flip := faulty.Behaviour{Flip: []int64{500_000}, Times: -1}
	for name, test := range map[string]struct {
		script []faulty.Behaviour
		args   []string
		fails  string // the end of the tool; empty: the image is there
		says   string // on the way
	}{
		"unverified":          {nil, nil, "", "nothing vouches"},
		"resumed":             {[]faulty.Behaviour{{End: faulty.EndReset, Cut: 300_000}}, []string{"--sha256", digest}, "", "resuming at"},
		"wrong byte":          {[]faulty.Behaviour{flip}, []string{"--sha256", digest}, "netstage fetch: mismatch: ", ""},
		"wrong byte, tree":    {[]faulty.Behaviour{flip}, []string{"--roothash", fmt.Sprintf("%x", root)}, "block 122 ", ""},
		"404":                 {[]faulty.Behaviour{{Status: 404, Times: -1}}, nil, "netstage fetch: http-404: ", ""},
		"gives up":            {[]faulty.Behaviour{{Status: 503, Times: -1}}, []string{"--timeout", "300ms"}, "netstage fetch: http-503: no image after ", ""},
		"digest that is none": {nil, []string{"--sha256", "12"}, "--sha256: ", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serveFaulty(t, content, test.script...)
			s.Add("image.verity", tree.Bytes())
			file := filepath.Join(t.TempDir(), "out")
			status, stdout, stderr := runTool(append([]string{"fetch", s.URL("image"), "-o", file}, test.args...)...)
			if !strings.Contains(stderr, test.says) || !strings.Contains(stderr, test.fails) {
				t.Errorf("no %q or no %q in\n%s", test.says, test.fails, stderr)
			}
			got, err := os.ReadFile(file)
			if test.fails == "" {
				if status != exitOK || stdout != digest+"  "+file+"\n" || !bytes.Equal(got, content) {
					t.Errorf("status %d, %s, %d bytes, %v", status, stdout, len(got), err)
				}
				return
			}
			if left, _ := os.ReadDir(filepath.Dir(file)); status == exitOK || len(left) > 0 {
				t.Errorf("status %d, left: %v", status, left)
			}
		})
	}
}

// Ctrl-C in the middle of an image leaves nothing behind.
func TestFetchInterrupted(t *testing.T) {
	content := make([]byte, 4<<20)
	s := serveFaulty(t, content, faulty.Behaviour{End: faulty.EndStall, Cut: 1 << 20})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	tool := filepath.Join(t.TempDir(), "netstage")
	if err := os.Symlink(self, tool); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(tool, "fetch", s.URL("image"), "-o", filepath.Join(dir, "out"))
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "out.part")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			cmd.Process.Kill()
			t.Fatal("no download begins")
		}
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(stderr)
	if err := cmd.Wait(); cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGINT {
		t.Errorf("ended with %v", err)
	}
	if !strings.HasSuffix(string(text), "netstage fetch: interrupted\n") {
		t.Errorf("it says\n%s", text)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A seed is read before the server is asked; of what it has nothing is fetched.
func TestFetchSeed(t *testing.T) {
	content := make([]byte, 1<<20)
	for i := range content {
		content[i] = byte(i >> 12)
	}
	var tree bytes.Buffer
	root, err := verity.Build(bytes.NewReader(content), int64(len(content)), &tree, verity.Options{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	old, file := filepath.Join(dir, "old"), filepath.Join(dir, "out")
	if err := os.WriteFile(old, content[100<<12:], 0o644); err != nil {
		t.Fatal(err)
	}
	s := serveFaulty(t, content)
	s.Add("image.verity", tree.Bytes())
	status, stdout, stderr := runTool("fetch", s.URL("image"), "-o", file, "--roothash", fmt.Sprintf("%x", root), "--seed", old)
	got, _ := os.ReadFile(file)
	if status != exitOK || !bytes.Equal(got, content) || stdout != fmt.Sprintf("%x  %s\n", sha256.Sum256(content), file) {
		t.Errorf("status %d, %s, %d bytes\n%s", status, stdout, len(got), stderr)
	}
	sent := int64(0)
	for _, e := range s.Log() {
		if e.Path == "/image" {
			sent += e.Sent
		}
	}
	// The first request asks whether there are ranges.
	if sent != 101<<12 {
		t.Errorf("%d bytes of the image were sent, want 100 blocks and one", sent)
	}
	if status, _, stderr = runTool("fetch", s.URL("image"), "-o", file, "--seed", old); status != exitOK || !strings.Contains(stderr, "the seeds were of no use") {
		t.Errorf("without a root hash: status %d\n%s", status, stderr)
	}
	if status, _, stderr = runTool("fetch", s.URL("image"), "-o", file, "--seed", dir+"/none"); status == exitOK || !strings.Contains(stderr, "--seed") {
		t.Errorf("without the seed: status %d\n%s", status, stderr)
	}
}
