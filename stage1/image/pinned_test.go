package image

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"netstage/fetch/faulty"
	"netstage/fetch/kept"
	"netstage/stage1/config"
)

// inRegistry are a manifest of an edition's, and an index that names it.
func (e edition) inRegistry() (manifest, index []byte) {
	blob := func(kind string, content []byte, more string) string {
		return fmt.Sprintf(`{"mediaType": "application/vnd.netstage.%s", "digest": "sha256:%x", "size": %d%s}`, kind, sha256.Sum256(content), len(content), more)
	}
	manifest = fmt.Appendf(nil, `{"schemaVersion": 2, "layers": [%s, %s]}`,
		blob("image.v1.squashfs", e.content, fmt.Sprintf(`, "annotations": {"vnd.netstage.roothash": "%x"}`, e.root)), blob("verity.v1", e.tree, ""))
	index = fmt.Appendf(nil, `{"schemaVersion": 2, "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:%x", "size": %d, "platform": {"os": "linux", "architecture": %q}}]}`,
		sha256.Sum256(manifest), len(manifest), runtime.GOARCH)
	return manifest, index
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// The digest of an artifact vouches for its image without a server, too: from
// what was kept with the image down.
func TestLastGoodByDigest(t *testing.T) {
	yesterday, today := editions(t)
	manifest, index := yesterday.inRegistry()
	other, _ := today.inRegistry()
	for name, c := range map[string]struct {
		pin, more string
		files     map[string]string
		spoil     func(r *kept.Record)
		fails     string
	}{
		"of an index":            {pin: hexSum(index)},
		"of a manifest":          {pin: hexSum(manifest), spoil: func(r *kept.Record) { r.Artifact = r.Artifact[1:] }},
		"without a tree":         {pin: hexSum(index), spoil: func(r *kept.Record) { r.TreeSize, r.RootHash = 0, nil }},
		"and a root hash":        {pin: hexSum(index), more: fmt.Sprintf(" roothash=%x", yesterday.root)},
		"and a signature":        {pin: hexSum(index), files: map[string]string{"etc/netstage/trusted.d/ops.pub": string(yesterday.public)}, spoil: yesterday.sign},
		"another root hash":      {pin: hexSum(index), more: fmt.Sprintf(" roothash=%x", today.root), fails: "the root hash asked for is"},
		"of another artifact":    {pin: hexSum(other), fails: "it is of the artifact sha256:" + hexSum(index)},
		"nothing kept of it":     {pin: hexSum(index), spoil: func(r *kept.Record) { r.Artifact = nil }, fails: "no manifest is known with it"},
		"of an index alone":      {pin: hexSum(index), spoil: func(r *kept.Record) { r.Artifact = r.Artifact[:1] }, fails: "no manifest is known with it"},
		"another one's manifest": {pin: hexSum(index), spoil: func(r *kept.Record) { r.Artifact[1] = other }, fails: "it is of the artifact sha256:" + hexSum(other)},
		"no signature beside it": {pin: hexSum(index), files: map[string]string{"etc/netstage/trusted.d/ops.pub": string(yesterday.public)}, fails: "its signature is malformed"},
		"another image kept with it": {pin: hexSum(index), fails: "block 50 (byte 204800)",
			spoil: func(r *kept.Record) { r.RootHash = today.root }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, err := faulty.Listen("127.0.0.1:0", nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { server.Close() })
			for _, body := range [][]byte{index, manifest} {
				server.Add("v2/web/manifests/sha256:"+hexSum(body), body)
			}
			for _, body := range [][]byte{yesterday.content, yesterday.tree} {
				server.Add("v2/web/blobs/sha256:"+hexSum(body), body)
			}
			place := "rootfs=oci+http://" + server.Addr() + "/web@sha256:"
			g, log := cached(t, place+hexSum(index), "/nowhere", nil)
			image := g.mustGet(t, log, yesterday)
			if image.Kept == nil || !slices.EqualFunc(image.Kept.Image.Artifact, [][]byte{index, manifest}, bytes.Equal) {
				t.Fatalf("to be kept: %+v", image.Kept)
			}
			server.Close()

			record, content, disk := image.Kept.Image, yesterday.content, t.TempDir()
			record.TreeSize = int64(len(yesterday.tree))
			if c.spoil != nil {
				c.spoil(&record)
			}
			if bytes.Equal(record.RootHash, today.root) {
				content = today.content
			}
			root, err := os.OpenRoot(disk)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			if err := kept.Keep(t.Context(), root, kept.Image{Record: record, File: bytes.NewReader(content), Tree: bytes.NewReader(yesterday.tree)}); err != nil {
				t.Fatal(err)
			}
			g, log = cached(t, place+c.pin+c.more, disk, c.files)
			g.Config.Policy = config.Policy{LastGood: true, LastGoodFor: time.Hour, RequireVouched: true}
			if c.fails == "" {
				if image := g.mustGet(t, log, yesterday); image.Report.OfflineHours == nil {
					t.Errorf("%+v\n%s", image.Report, log)
				}
				return
			}
			disks := openCache(t.Context(), g)
			defer disks.close()
			if image, err := disks.lastGood(t.Context(), errOffline); err == nil || !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%+v, %v\n%s", image, err, log)
			}
		})
	}
}

// sign has what was kept be signed, as if its artifact had held a manifest.
func (e edition) sign(r *kept.Record) { r.Manifest, r.Minisig = e.body, e.signature }
