package oci

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"netstage/stage1/fault"
)

const one, two = "1111111111111111111111111111111111111111111111111111111111111111", "2222222222222222222222222222222222222222222222222222222222222222"

var amd64 = Platform{OS: "linux", Architecture: "amd64"}

func layer(kind, digest, title string, size int, more ...string) string {
	return fmt.Sprintf(`{"mediaType": %q, "digest": "sha256:%s", "size": %d, "annotations": {"org.opencontainers.image.title": %q%s}}`, kind, digest, size, title, strings.Join(more, ""))
}

func manifest(layers ...string) string {
	return `{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {"x": [1]}, "layers": [` + strings.Join(layers, ", ") + `]}`
}

func TestSystem(t *testing.T) {
	s, next, err := Read([]byte(manifest(
		layer(TypeKernel, two, "bzImage", 5),
		layer(TypeSquashfs, one, "nix-store.squashfs", 4096, `, "vnd.netstage.roothash": "`+two+`"`),
		layer(TypeTree, two, "nix-store.squashfs.verity", 7), layer(TypeManifest, two, "web.manifest", 8),
		layer(TypeSignature, two, "web.manifest.minisig", 9), layer(TypeHot, two, "x.hot", 10), layer("application/x-other", one, "z", 0),
	)), amd64)
	if err != nil || next != nil {
		t.Fatal(next, err)
	}
	if s.Image.Digest != one || s.Image.Size != 4096 || hex.EncodeToString(s.RootHash) != two || s.Tree.Size != 7 || s.Manifest.Size != 8 ||
		s.Signature.Size != 9 || s.Hot.Size != 10 || len(s.Layers) != 7 {
		t.Errorf("%+v", s)
	}
	for _, kind := range []string{TypeErofs, "application/vnd.erofs", "application/vnd.stacker.image.layer.squashfs", "application/vnd.stacker.image.layer.squashfs+verity",
		"application/vnd.oci.image.layer.v1.tar", "application/octet-stream"} {
		s, _, err := Read([]byte(manifest(layer(kind, one, "x.squashfs", 1))), amd64)
		if err != nil || s.Image.Digest != one || s.Tree != nil || s.RootHash != nil {
			t.Errorf("%s: %+v, %v", kind, s, err)
		}
	}
}

func TestWrongManifests(t *testing.T) {
	good := layer(TypeSquashfs, one, "x.squashfs", 1)
	for _, c := range []struct{ body, says string }{
		{"<html>", "it is no manifest"},
		{"[]", "it is no manifest"},
		{"{}", "schemaVersion is 0"},
		{`{"schemaVersion": 1, "layers": []}`, "schemaVersion is 1"},
		{`{"schemaVersion": 2}`, "0 layers and 0 manifests"},
		{`{"schemaVersion": 2, "layers": [], "manifests": []}`, "layers and manifests"},
		{`{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "layers": []}`, "media type"},
		{`{"schemaVersion": 2, "mediaType": "text/html", "layers": [` + good + `]}`, "text/html"},
		{manifest(), "there is nothing"},
		{manifest(layer("application/vnd.oci.image.layer.v1.tar+gzip", one, "x.squashfs", 1)), "there is application/vnd.oci.image.layer.v1.tar+gzip"},
		{manifest(layer("application/vnd.oci.image.layer.v1.tar", one, "x.tar", 1)), "is an image of a system"},
		{manifest(good, layer(TypeErofs, two, "y.erofs", 1)), "more than one of its layers is an image: x.squashfs, y.erofs"},
		{manifest(layer(TypeSquashfs, "12", "x", 1)), "sha256:12"},
		{manifest(layer(TypeSquashfs, one, "x", -1)), "size -1"},
		{manifest(layer(TypeSquashfs, one, "x", 0)), "its image is empty"},
		{manifest(layer(TypeSquashfs, one, "x", 1, `, "vnd.netstage.roothash": "12"`)), "root hash"},
		{strings.Repeat(" ", Most) + manifest(good), "more than"},
	} {
		s, _, err := Read([]byte(c.body), amd64)
		if err == nil && s != nil {
			err = s.NoImage()
		}
		if err == nil || fault.ClassOf(err) != fault.Artifact || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%.200s: %v", c.body, err)
		}
	}
}

func TestIndex(t *testing.T) {
	entry := func(digest, os, arch, variant string) string {
		return fmt.Sprintf(`{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:%s", "size": 9, "platform": {"os": %q, "architecture": %q, "variant": %q}}`, digest, os, arch, variant)
	}
	unnamed := `{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:` + two + `", "size": 9}`
	index := func(entries ...string) string {
		return `{"schemaVersion": 2, "manifests": [` + strings.Join(entries, ", ") + `]}`
	}
	arm := func(variant string) Platform { return Platform{"linux", "arm64", variant} }
	for _, c := range []struct {
		index string
		p     Platform
		want  string
	}{
		{index(entry(two, "linux", "arm64", ""), entry(one, "linux", "amd64", "")), amd64, one},
		{index(unnamed, entry(two, "windows", "amd64", ""), entry(one, "linux", "amd64", "v1")), amd64, one},
		{index(entry(two, "linux", "arm64", ""), entry(one, "linux", "arm64", "v8")), arm("v8"), one},
		{index(entry(one, "linux", "arm64", "v8"), entry(two, "linux", "arm64", "v8")), arm("v8"), one},
		{index(entry(one, "linux", "arm64", ""), entry(two, "linux", "arm64", "v9")), arm("v8"), one},
	} {
		s, d, err := Read([]byte(c.index), c.p)
		if err != nil || s != nil || d == nil || d.Digest != c.want || d.Size != 9 {
			t.Errorf("%s of %s: %v, %v", c.p, c.index, d, err)
		}
	}
	for _, c := range []struct{ index, says string }{
		{index(), "nothing for linux/amd64: there is nothing"},
		{index(entry(one, "linux", "arm64", "v8"), entry(one, "linux", "riscv64", "")), "there is linux/arm64/v8, linux/riscv64"},
	} {
		if _, _, err := Read([]byte(c.index), amd64); fault.ClassOf(err) != fault.Artifact || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.index, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(manifest(layer(TypeSquashfs, one, "x.squashfs", 1, `, "vnd.netstage.roothash": "`+two+`"`)))
	f.Add(`{"schemaVersion": 2, "manifests": [{"digest": "sha256:` + one + `", "platform": {"os": "linux", "architecture": "amd64"}}]}`)
	f.Fuzz(func(t *testing.T, body string) {
		s, d, err := Read([]byte(body), amd64)
		switch {
		case err != nil && (s != nil || d != nil || fault.ClassOf(err) != fault.Artifact || strings.Contains(err.Error(), "\x00")):
			t.Errorf("%+v, %+v, %v", s, d, err)
		case err == nil && s != nil && s.NoImage() == nil && (len(s.Image.Digest) != 64 || s.Image.Size <= 0 || len(s.RootHash) != 0 && len(s.RootHash) != 32):
			t.Errorf("%+v", s)
		case err == nil && s == nil && len(d.Digest) != 64:
			t.Errorf("%+v", d)
		}
	})
}
