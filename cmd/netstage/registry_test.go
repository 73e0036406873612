package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"netstage/fetch/oci/peer"
)

// registryTool runs the tool, which finds no logins but those of the test.
func registryTool(t *testing.T, args ...string) (out, told string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if status := run(args, streams{os.Stdin, &stdout, &stderr}); status != exitOK {
		t.Fatalf("netstage %s: status %d\n%s", strings.Join(args, " "), status, &stderr)
	}
	return stdout.String(), stderr.String()
}

// A folder as an operator has it goes to a registry that wants a login, and
// back; fetch takes the image by what push printed.
func TestRegistryCommands(t *testing.T) {
	r := peer.Start(t, peer.Options{Login: "ci:secret"})
	docker := t.TempDir()
	t.Setenv("DOCKER_CONFIG", docker)
	if err := os.WriteFile(filepath.Join(docker, "config.json"), []byte(`{"auths": {"`+r.Host+`": {"auth": "Y2k6c2VjcmV0"}, "http://`+r.Host+`": {"auth": "Y2k6c2VjcmV0"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	store, boot, back := t.TempDir(), t.TempDir(), t.TempDir()
	for path, text := range map[string]string{
		filepath.Join(store, "0123456789abcdfghijklmnpqrsvwxyz-hello", "init"): "#!/bin/sh\n", filepath.Join(boot, "bzImage"): "kernel",
		filepath.Join(boot, "initrd.zst"): "initrd", filepath.Join(boot, "cmdline"): "quiet\n",
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	image := filepath.Join(boot, "nix-store.squashfs")
	out, _ := registryTool(t, "image", store, "-o", image, "--compression", "zstd:1", "--push", "oci+http://"+r.Host+"/team/web:1")
	pinned := regexp.MustCompile(`(?m)^oci\+http://.*@sha256:[0-9a-f]{64}$`).FindString(out)
	if pinned == "" {
		t.Fatalf("nothing that pins it in %q", out)
	}
	out, told := registryTool(t, "push", boot, "oci+http://"+r.Host+"/team/web:1", "--tag", "stable")
	if strings.TrimSpace(out) != pinned || strings.Count(told, "there already") != 5 {
		t.Errorf("pushed again: %s%s", out, told)
	}
	if out, _ = registryTool(t, "pull", "oci+http://"+r.Host+"/team/web:stable", back); !strings.HasSuffix(strings.TrimSpace(out), pinned[strings.Index(pinned, "@"):]) {
		t.Errorf("pulled %s, pushed %s", out, pinned)
	}
	for _, name := range []string{"bzImage", "initrd.zst", "cmdline", "nix-store.squashfs", "nix-store.squashfs.verity", "nix-store.squashfs.sha256", "nix-store.squashfs.roothash"} {
		was, err := os.ReadFile(filepath.Join(boot, name))
		is, err2 := os.ReadFile(filepath.Join(back, name))
		if err != nil || err2 != nil || !bytes.Equal(was, is) {
			t.Errorf("%s: %d bytes became %d, %v, %v", name, len(was), len(is), err, err2)
		}
	}
	registryTool(t, "fetch", pinned, "-o", filepath.Join(back, "fetched"))
	registryTool(t, "verify", filepath.Join(back, "fetched"), "--sha256", strings.Fields(string(mustRead(t, image+".sha256")))[0])
}

func mustRead(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// serve --from serves what a tag means, and follows it.
func TestServeFromRegistry(t *testing.T) {
	r := peer.Start(t, peer.Options{})
	boot := t.TempDir()
	for name, text := range map[string]string{"bzImage": "kernel", "initrd": "initrd", "cmdline": "init=/init", "x.squashfs": "image"} {
		if err := os.WriteFile(filepath.Join(boot, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	push := func() string {
		out, _ := registryTool(t, "push", boot, "oci+http://"+r.Host+"/web:stable")
		return strings.TrimSpace(out[strings.Index(out, "@"):])
	}
	digest := push()
	ctx, stop := context.WithCancel(t.Context())
	logs, log := io.Pipe()
	ended := make(chan error, 1)
	command := newServe(streams{os.Stdin, io.Discard, log})
	command.SetArgs([]string{"--from", "oci+http://" + r.Host + "/web:stable", "--cache", t.TempDir(), "--listen", "127.0.0.1:0", "--poll", "1s", "--grace", "1s"})
	go func() {
		ended <- command.ExecuteContext(ctx)
		log.Close()
	}()
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		var all []byte
		for buf := make([]byte, 4096); ; {
			n, err := logs.Read(buf)
			all = append(all, buf[:n]...)
			for i := bytes.IndexByte(all, '\n'); i >= 0; i = bytes.IndexByte(all, '\n') {
				lines <- string(all[:i])
				all = all[i+1:]
			}
			if err != nil {
				return
			}
		}
	}()
	var told []string
	says := func(want string) string {
		t.Helper()
		limit := time.After(time.Minute)
		for _, line := range told {
			if strings.Contains(line, want) {
				return line
			}
		}
		for {
			select {
			case line := <-lines:
				if told = append(told, line); strings.Contains(line, want) {
					return line
				}
			case <-limit:
				t.Fatalf("no %q in %q", want, told)
			}
		}
	}
	url := regexp.MustCompile(`http://127\.0\.0\.1:\d+/boot\.ipxe`).FindString(says("boot.ipxe"))
	says("tag stable is " + strings.TrimPrefix(digest, "@") + " now")
	script := func() string {
		resp, err := http.Get(url + "?mac=aa-bb-cc-dd-ee-ff")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return string(text)
	}
	if got := script(); !strings.Contains(got, "rootfs=oci+http://"+r.Host+"/web"+digest+" init=/init") {
		t.Errorf("%s", got)
	}
	if err := os.WriteFile(filepath.Join(boot, "x.squashfs"), []byte("another"), 0o666); err != nil {
		t.Fatal(err)
	}
	moved := push()
	says("tag stable is " + strings.TrimPrefix(moved, "@") + " now")
	if got := script(); !strings.Contains(got, "rootfs=oci+http://"+r.Host+"/web"+moved) || moved == digest {
		t.Errorf("%s", got)
	}
	stop()
	go func() {
		for range lines { // until it has ended
		}
	}()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
