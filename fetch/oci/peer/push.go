package peer

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// A Layer is a file of an artifact.
type Layer struct {
	Type, Title string
	Content     []byte
	Annotations map[string]string
}

// A Descriptor is one in a manifest.
type Descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    map[string]string `json:"platform,omitempty"`
}

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	indexType    = "application/vnd.oci.image.index.v1+json"
)

// Push pushes an artifact by the bare API, and returns its descriptor.
func (r *Registry) Push(t testing.TB, name, tag string, layers ...Layer) Descriptor {
	t.Helper()
	empty := []byte("{}")
	r.put(t, name, empty)
	all := []Descriptor{}
	for _, l := range layers {
		r.put(t, name, l.Content)
		d := describe(l.Type, l.Content)
		d.Annotations = map[string]string{"org.opencontainers.image.title": l.Title}
		for k, v := range l.Annotations {
			d.Annotations[k] = v
		}
		all = append(all, d)
	}
	return r.PushManifest(t, name, tag, manifestType, map[string]any{
		"schemaVersion": 2, "mediaType": manifestType, "artifactType": "application/x-test",
		"config": describe("application/vnd.oci.empty.v1+json", empty), "layers": all,
	})
}

// PushIndex has a tag name an index of manifests by their platforms, each
// OS/ARCHITECTURE.
func (r *Registry) PushIndex(t testing.TB, name, tag string, manifests map[string]Descriptor) Descriptor {
	t.Helper()
	all := []Descriptor{}
	for platform, d := range manifests {
		os, arch, _ := strings.Cut(platform, "/")
		d.Platform = map[string]string{"os": os, "architecture": arch}
		all = append(all, d)
	}
	return r.PushManifest(t, name, tag, indexType, map[string]any{"schemaVersion": 2, "mediaType": indexType, "manifests": all})
}

// PushManifest puts any JSON under a tag.
func (r *Registry) PushManifest(t testing.TB, name, tag, kind string, v any) Descriptor {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	r.send(t, http.MethodPut, r.URL+"/v2/"+name+"/manifests/"+tag, kind, body)
	return describe(kind, body)
}

func describe(kind string, content []byte) Descriptor {
	return Descriptor{MediaType: kind, Digest: fmt.Sprintf("sha256:%x", sha256.Sum256(content)), Size: len(content)}
}

// put puts a blob.
func (r *Registry) put(t testing.TB, name string, content []byte) {
	t.Helper()
	place := r.send(t, http.MethodPost, r.URL+"/v2/"+name+"/blobs/uploads/", "", nil)
	mark := "?"
	if strings.Contains(place, "?") {
		mark = "&"
	}
	r.send(t, http.MethodPut, place+mark+"digest="+describe("", content).Digest, "application/octet-stream", content)
}

// send returns the Location of an answer.
func (r *Registry) send(t testing.TB, method, url, kind string, body []byte) string {
	t.Helper()
	q, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if kind != "" {
		q.Header.Set("Content-Type", kind)
	}
	if user, password, ok := strings.Cut(r.login, ":"); ok {
		q.SetBasicAuth(user, password)
	}
	if r.tokens != nil {
		name, _, _ := strings.Cut(strings.TrimPrefix(q.URL.Path, "/v2/"), "/blobs/")
		name, _, _ = strings.Cut(name, "/manifests/")
		q.Header.Set("Authorization", "Bearer "+r.tokens.Token("repository:"+name+":pull,push"))
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}} // of the test's own certificate
	resp, err := client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode/100 != 2 {
		t.Fatalf("%s %s: %s %s", method, url, resp.Status, text)
	}
	place, err := resp.Location() // some are relative
	if err != nil {
		return ""
	}
	return place.String()
}

// DigestOf is what a registry calls a blob.
func DigestOf(content []byte) string { return describe("", content).Digest }

// Takes tells whether the registry lets somebody read a repository by that
// Authorization.
func (r *Registry) Takes(t testing.TB, name, authorization string) bool {
	q, err := http.NewRequest(http.MethodGet, r.URL+"/v2/"+name+"/tags/list", nil)
	if err != nil {
		t.Error(err)
		return false
	}
	q.Header.Set("Authorization", authorization)
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Error(err)
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
