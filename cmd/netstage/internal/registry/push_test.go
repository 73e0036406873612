package registry

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/file"

	"netstage/fetch/oci"
	"netstage/fetch/oci/peer"
	"netstage/fetch/ref"
)

const root = "8f0c6a1f0c6a1f0c6a1f0c6a1f0c6a1f0c6a1f0c6a1f0c6a1f0c6a1f0c6a1f00"

// folder is one as "netstage image --boot" makes it.
func folder(t *testing.T, image string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"bzImage": "kernel", "initrd.zst": "initrd", "cmdline": "init=/init\n", "nix-store.squashfs": image, "nix-store.squashfs.sha256": "x",
		"nix-store.squashfs.verity": "tree", "nix-store.squashfs.roothash": root, "nix-store.squashfs.hot": "[]", "web.manifest": "{}", "web.manifest.minisig": "signed",
		"boot.ipxe": "#!ipxe", ".hidden": "x",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// sent is what a push said it did.
type sent struct{ new, there []string }

func push(t *testing.T, r *peer.Registry, dir string, access Access, platform string, tags ...string) (string, sent) {
	t.Helper()
	files, left, err := Files(t.Context(), dir)
	if err != nil || !slices.Equal(left, []string{"boot.ipxe"}) {
		t.Fatalf("left %q, %v", left, err)
	}
	repo, err := access.Open(ref.Artifact{Host: r.Host, Name: "team/web", Tag: tags[0], Plain: strings.HasPrefix(r.URL, "http:")})
	if err != nil {
		t.Fatal(err)
	}
	var s sent
	digest, err := Push{Files: files, Tags: tags, Platform: platform, Tell: func(f File, n int64, there bool) {
		switch {
		case there:
			s.there = append(s.there, f.Name)
		case n == f.Size:
			s.new = append(s.new, f.Name)
		}
	}}.To(t.Context(), repo)
	if err != nil {
		t.Fatal(err)
	}
	return digest, s
}

// ask asks the registry's API, as no library would.
func ask(t *testing.T, url string) (http.Header, []byte) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", oci.Accept)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s, %v", url, resp.Status, body, err)
	}
	return resp.Header, body
}

var everything = []string{"bzImage", "initrd.zst", "cmdline", "nix-store.squashfs", "nix-store.squashfs.verity", "nix-store.squashfs.hot", "web.manifest", "web.manifest.minisig"}

// What is pushed is an artifact by the conventions of image-spec 1.1 and ORAS,
// and a second push sends what changed.
func TestPush(t *testing.T) {
	r := peer.Start(t, peer.Options{})
	dir := folder(t, "image one")
	digest, s := push(t, r, dir, Access{}, "", "42", "stable")
	if !slices.Equal(s.new, everything) || len(s.there) > 0 {
		t.Errorf("%+v", s)
	}
	header, body := ask(t, r.URL+"/v2/team/web/manifests/stable")
	var m ocispec.Manifest
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatal(err)
	}
	if header.Get("Docker-Content-Digest") != digest || m.SchemaVersion != 2 || m.MediaType != ocispec.MediaTypeImageManifest || m.ArtifactType != oci.ArtifactType ||
		m.Config.MediaType != ocispec.MediaTypeEmptyJSON || m.Annotations[ocispec.AnnotationCreated] == "" {
		t.Errorf("%s: %s", header, body)
	}
	var titles []string
	for _, l := range m.Layers {
		titles = append(titles, l.Annotations[ocispec.AnnotationTitle])
		_, blob := ask(t, r.URL+"/v2/team/web/blobs/"+l.Digest.String())
		file, err := os.ReadFile(filepath.Join(dir, titles[len(titles)-1]))
		if err != nil || string(blob) != string(file) || l.Size != int64(len(file)) {
			t.Errorf("%s: %q, %v", titles[len(titles)-1], blob, err)
		}
	}
	if !slices.Equal(titles, everything) {
		t.Errorf("%q", titles)
	}
	if s, _, err := oci.Read(body, oci.Platform{}); err != nil || s.Image.Size != 9 || len(s.RootHash) != 32 || s.Tree == nil || s.Hot == nil || s.Manifest == nil || s.Signature == nil {
		t.Errorf("a machine would make this of it: %+v, %v", s, err)
	}
	again, s := push(t, r, dir, Access{}, "", "42")
	if again != digest || len(s.new) > 0 || len(s.there) != len(everything) {
		t.Errorf("pushed again: %s after %s, %+v", again, digest, s)
	}
	if err := os.WriteFile(filepath.Join(dir, "nix-store.squashfs"), []byte("image two"), 0o600); err != nil {
		t.Fatal(err)
	}
	moved, s := push(t, r, dir, Access{}, "", "stable")
	if moved == digest || !slices.Equal(s.new, []string{"nix-store.squashfs"}) {
		t.Errorf("a new image: %s, %+v", moved, s)
	}
	if header, _ := ask(t, r.URL+"/v2/team/web/manifests/42"); header.Get("Docker-Content-Digest") != digest {
		t.Error("the other tag moved, too")
	}
}

// Of several platforms each has its place in the index, whoever pushed last.
func TestPushPlatforms(t *testing.T) {
	r := peer.Start(t, peer.Options{})
	dir := folder(t, "amd64")
	push(t, r, dir, Access{}, "linux/amd64", "1")
	arm := folder(t, "arm64")
	push(t, r, arm, Access{}, "linux/arm64/v8", "1")
	digest, _ := push(t, r, folder(t, "amd64 again"), Access{}, "linux/amd64", "1")
	header, body := ask(t, r.URL+"/v2/team/web/manifests/1")
	var index ocispec.Index
	if err := json.Unmarshal(body, &index); err != nil || index.MediaType != ocispec.MediaTypeImageIndex || header.Get("Docker-Content-Digest") != digest || len(index.Manifests) != 2 {
		t.Fatalf("%s, %v", body, err)
	}
	for p, want := range map[oci.Platform]string{{OS: "linux", Architecture: "amd64"}: "amd64 again", {OS: "linux", Architecture: "arm64", Variant: "v8"}: "arm64"} {
		_, d, err := oci.Read(body, p)
		if err != nil {
			t.Fatal(err)
		}
		_, manifest := ask(t, r.URL+"/v2/team/web/manifests/sha256:"+d.Digest)
		s, _, err := oci.Read(manifest, p)
		if err != nil {
			t.Fatal(err)
		}
		if _, image := ask(t, r.URL+"/v2/team/web/blobs/sha256:"+s.Image.Digest); string(image) != want {
			t.Errorf("%s: %q", p, image)
		}
	}
	if _, err := parsePlatform("linux"); err == nil {
		t.Error("linux alone is a platform")
	}
}

// By https, with a login of each kind.
func TestPushWithLogin(t *testing.T) {
	for name, o := range map[string]peer.Options{
		"basic":  {TLS: true, Login: "ci:secret"},
		"tokens": {Tokens: peer.ServeTokens(t, "ci:secret")},
	} {
		t.Run(name, func(t *testing.T) {
			r := peer.Start(t, o)
			auth := filepath.Join(t.TempDir(), "config.json")
			if err := os.WriteFile(auth, []byte(`{"auths": {"`+r.Host+`": {"auth": "Y2k6c2VjcmV0"}}}`), 0o600); err != nil {
				t.Fatal(err)
			}
			access := Access{AuthFile: auth}
			if r.CA != "" {
				access.Roots = r.Roots(t)
			}
			if digest, s := push(t, r, folder(t, "x"), access, "", "1"); !strings.HasPrefix(digest, "sha256:") || len(s.new) != len(everything) {
				t.Errorf("%s, %+v", digest, s)
			}
		})
	}
}

// skopeo takes what is pushed to another registry, as it is.
func TestSkopeoCopies(t *testing.T) {
	skopeo, err := exec.LookPath("skopeo")
	if err != nil {
		t.Skip("needs skopeo (apt-get install skopeo)")
	}
	from, to := peer.Start(t, peer.Options{}), peer.Start(t, peer.Options{})
	one, _ := push(t, from, folder(t, "one"), Access{}, "", "one")
	push(t, from, folder(t, "amd"), Access{}, "linux/amd64", "many")
	many, _ := push(t, from, folder(t, "arm"), Access{}, "linux/arm64", "many")
	for tag, digest := range map[string]string{"one": one, "many": many} {
		out, err := exec.Command(skopeo, "copy", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false",
			"docker://"+from.Host+"/team/web:"+tag, "docker://"+to.Host+"/copy/web:"+tag).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if header, _ := ask(t, to.URL+"/v2/copy/web/manifests/"+tag); header.Get("Docker-Content-Digest") != digest {
			t.Errorf("%s became %s", digest, header)
		}
	}
}

// ORAS writes what is pushed under the names of the files.
func TestORASPulls(t *testing.T) {
	r := peer.Start(t, peer.Options{})
	dir, to := folder(t, "image"), t.TempDir()
	push(t, r, dir, Access{}, "", "1")
	repo, err := Access{}.Open(ref.Artifact{Host: r.Host, Name: "team/web", Tag: "1", Plain: true})
	if err != nil {
		t.Fatal(err)
	}
	files, err := file.New(to)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	if _, err := oras.Copy(t.Context(), repo, "1", files, "1", oras.DefaultCopyOptions); err != nil {
		t.Fatal(err)
	}
	for _, name := range everything {
		was, err := os.ReadFile(filepath.Join(dir, name))
		is, err2 := os.ReadFile(filepath.Join(to, name))
		if err != nil || err2 != nil || string(was) != string(is) {
			t.Errorf("%s: %q became %q, %v, %v", name, was, is, err, err2)
		}
	}
}

// Which files are of a system, and of what it is not clear.
func TestFiles(t *testing.T) {
	dir := folder(t, "x")
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(names ...string) {
		for _, name := range names {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	fails := func(says string) {
		t.Helper()
		if _, _, err := Files(t.Context(), dir); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want an error that says %q", err, says)
		}
	}
	write("vmlinuz-1", "k")
	write("vmlinuz-2", "k")
	write("other.squashfs", "y")
	if files, left, err := Files(t.Context(), dir); err != nil || len(files) != len(everything) || !slices.Equal(left, []string{"boot.ipxe", "other.squashfs", "vmlinuz-1", "vmlinuz-2"}) {
		t.Errorf("%d files, left %q, %v", len(files), left, err)
	}
	remove("bzImage")
	fails("which kernel? There are vmlinuz-1, vmlinuz-2")
	remove("vmlinuz-1", "vmlinuz-2")
	write("x.manifest", "{}")
	fails("which manifest?")
	remove("x.manifest", "nix-store.squashfs.roothash")
	fails("its root is not known")
	write("nix-store.squashfs.roothash", "12")
	fails("nix-store.squashfs.roothash")
	remove("nix-store.squashfs", "other.squashfs")
	fails("neither a kernel")
}
