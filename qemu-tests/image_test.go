package qemutests

import (
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"netstage/fetch/faulty"
	"netstage/qemu-tests/nsmachine"
)

func always(b faulty.Behaviour) []faulty.Behaviour {
	b.Times = -1
	return []faulty.Behaviour{b}
}

// half is about the middle of the image.
const half = 400_000

// The faults of servers and networks, met by a whole boot.
func TestFaults(t *testing.T) {
	t.Parallel()
	const sha, root = " rootfs.sha256={sha256}", " roothash={roothash}"
	flip := faulty.Behaviour{Flip: []int64{half}}
	wrongBlock := fmt.Sprintf("block %d (byte %d)", half/4096, half/4096*4096)
	two := func(first faulty.Behaviour) *network {
		return &network{mirrors: []mirror{{script: always(first)}, {}}}
	}
	for name, s := range map[string]scenario{
		"drop":              {lan: mirrored(faulty.Behaviour{End: faulty.EndClose, Cut: half}), cmdline: sha, shown: []string{"connection closed early", "resuming at"}},
		"reset":             {lan: mirrored(faulty.Behaviour{End: faulty.EndReset, Cut: half}), cmdline: root, shown: []string{"connection reset", "resuming at"}},
		"stall":             {lan: mirrored(faulty.Behaviour{End: faulty.EndStall, Cut: half}), cmdline: sha + " rootfs.floor=65536/1", shown: []string{"stalled: ", "over 1s, the floor is 64 KiB/s", "resuming at"}},
		"short, no length":  {lan: mirrored(faulty.Behaviour{End: faulty.EndClose, Cut: half, NoLength: true}), cmdline: sha, shown: []string{"ended after 400000 bytes, which do not verify"}},
		"short, unvouched":  {lan: mirrored(faulty.Behaviour{End: faulty.EndClose, Cut: half, NoLength: true}), ends: refused("bad-image"), shown: []string{"nothing vouches for these 400000 bytes being all", "cut short"}},
		"wrong byte":        {lan: mirrored(always(flip)...), cmdline: sha, ends: refused("mismatch"), shown: []string{"serves a wrong image: sha256 is", "!root (7/8)"}},
		"wrong byte, tree":  {lan: mirrored(always(flip)...), cmdline: root, ends: refused("mismatch"), shown: []string{"serves a wrong image: " + wrongBlock, "!root (7/8)"}},
		"wrong byte of one": {lan: two(flip), cmdline: root + " rootfs={url2}", shown: []string{"serves a wrong image: " + wrongBlock, "resuming at"}},
		"503":               {lan: mirrored(faulty.Behaviour{Status: 503, RetryAfter: "1"}), cmdline: sha, shown: []string{"503 Service Unavailable", "next try in "}},
		"404":               {lan: mirrored(always(faulty.Behaviour{Status: 404})...), cmdline: sha, ends: refused("http-404"), shown: []string{"404 Not Found for http://"}},
		"404 of one":        {lan: two(faulty.Behaviour{Status: 404}), cmdline: sha + " rootfs={url2}", shown: []string{"404 Not Found for http://", "next try from"}},
		"redirect loop":     {lan: mirrored(always(faulty.Behaviour{Location: "loop"})...), cmdline: sha, ends: refused("redirect"), shown: []string{"more than 10 redirects"}},
		"chunked":           {lan: mirrored(always(faulty.Behaviour{Chunked: true})...), cmdline: root},
		"chunked and cut":   {lan: mirrored(faulty.Behaviour{Chunked: true, End: faulty.EndReset, Cut: half}), cmdline: sha, shown: []string{"resuming at"}},
		// What vouches for the bytes in hand counts for more than what the
		// server says of its version.
		"changed ETag":            {lan: mirrored(faulty.Behaviour{End: faulty.EndClose, Cut: half}, faulty.Behaviour{ETag: `"new"`, Times: -1}), cmdline: sha, shown: []string{"resuming at", "!starting over at"}},
		"changed ETag, unvouched": {lan: mirrored(faulty.Behaviour{End: faulty.EndClose, Cut: half}, faulty.Behaviour{ETag: `"new"`, Times: -1}), shown: []string{"starting over at"}},
		"larger than memory": {lan: mirrored(always(faulty.Behaviour{Length: 1 << 45})...), ends: refused("no-memory"),
			shown: []string{"the image needs 33554432 MiB of memory", "make the image smaller"}},
		"larger than pinned": {lan: mirrored(always(faulty.Behaviour{Length: 1 << 45})...), cmdline: root, ends: refused("mismatch"), shown: []string{"expected "}},
	} {
		s.cmdline = "boot.fail_timeout=1 init={init} rootfs={url}" + s.cmdline
		t.Run(name, s.run)
	}
}

// A server that is not up yet is waited for.
func TestRefusedThenServed(t *testing.T) {
	scenario{
		lan:     &network{mirrors: []mirror{{late: true}}},
		cmdline: "rootfs={url} init={init} rootfs.sha256={sha256}",
		story:   []step{shows("connection refused"), opens},
		shown:   []string{"next try in"},
	}.run(t)
}

// A verity tree: asked for before the image, of an image in the initrd too.
func TestVerity(t *testing.T) {
	t.Parallel()
	v := vouchOnce(t, classic())
	wrongTree := string(v.tree[:4096]) + strings.Repeat("x", 4096) + string(v.tree[8192:])
	wrongImage := string(v.content[:half]) + "x" + string(v.content[half+1:])
	const image, tree = "/nix-store.squashfs", "/nix-store.squashfs.verity"
	for name, s := range map[string]scenario{
		"fetched": {lan: &network{}, cmdline: "rootfs={url} rootfs.sha256={sha256}",
			shown: []string{`"roothash": "{roothash}"`, `"sha256": "{sha256}"`, "verity tree: ", "!nothing vouches"},
			check: func(p *played) {
				if log := p.requests(); len(log) != 2 || log[0].Path != "/image.squashfs.verity" {
					p.t.Errorf("requests: %+v", log)
				}
			}},
		"wrong tree, fetched": {lan: &network{mirrors: []mirror{{files: map[string]string{"other": string(v.tree[:4096]) + string(v.content)}}}},
			cmdline: "rootfs={url} rootfs.verity={dir}/other", ends: refused("mismatch"), shown: []string{"serves a wrong verity tree: hash block"},
			check: func(p *played) {
				for _, e := range p.requests() {
					if e.Path != "/other" {
						p.t.Errorf("asked for %s", e.Path)
					}
				}
			}},
		"in the initrd": {copies: map[string]string{image: "{image}", tree: "{tree}"}, shown: []string{`"roothash": "{roothash}`}},
		"elsewhere":     {copies: map[string]string{image: "{image}", "/a/tree": "{tree}"}, cmdline: "rootfs.verity=/a/tree"},
		"missing":       {copies: inInitrd, ends: refused("no-image"), shown: []string{"verity tree: ", "!root (7/8)"}},
		"wrong":         {copies: inInitrd, files: map[string]string{tree: wrongTree}, ends: refused("mismatch"), shown: []string{"hash block", "!root (7/8)"}},
		"wrong image": {files: map[string]string{image: wrongImage}, copies: map[string]string{tree: "{tree}"}, ends: refused("mismatch"),
			shown: []string{"block 97", "!root (7/8)"}},
	} {
		s.cmdline = "boot.fail_timeout=1 roothash={roothash} init={init} " + s.cmdline
		t.Run(name, s.run)
	}
}

// What vouches for an image may have several places, whatever their kind: one
// that has it not, or another, is left for the next.
func TestWhatVouchesHasMirrors(t *testing.T) {
	t.Parallel()
	v := vouchOnce(t, classic())
	wrongTree := string(v.tree[:4096]) + strings.Repeat("x", 4096) + string(v.tree[8192:])
	tree, signed := "roothash={roothash} rootfs.verity={url}.verity ", "rootfs.manifest={dir}/test.manifest "
	for name, s := range map[string]scenario{
		"no tree in the initrd":         {cmdline: tree + "rootfs.verity=/none"},
		"another in the initrd":         {cmdline: tree + "rootfs.verity=/wrong", files: map[string]string{"/wrong": wrongTree}},
		"no tree on the server":         {cmdline: "rootfs.verity=http://{none}/x " + tree},
		"no manifest in the initrd":     {cmdline: signed + "rootfs.manifest=/none"},
		"one with another's signature":  {cmdline: signed + "rootfs.manifest=/m", copies: map[string]string{"/m": "{manifest}", "/m.minisig": "{ops.pub}"}},
		"no manifest on the server":     {cmdline: "rootfs.manifest=http://{none}/m " + signed},
		"the tree is in the initrd":     {cmdline: "roothash={roothash} rootfs.verity=http://{none}/x rootfs.verity=/t", copies: map[string]string{"/t": "{tree}"}},
		"the manifest is in the initrd": {cmdline: "rootfs.manifest=http://{none}/m rootfs.manifest=/m", copies: map[string]string{"/m": "{manifest}", "/m.minisig": "{minisig}"}},
	} {
		s.lan = &network{web: map[string]http.Handler{"none": http.NotFoundHandler()}}
		if strings.Contains(s.cmdline, "manifest") {
			s.copies = maps.Clone(s.copies)
			if s.copies == nil {
				s.copies = map[string]string{}
			}
			s.copies["/etc/netstage/trusted.d/ops.pub"] = "{ops.pub}"
		}
		s.cmdline = "boot.fail_timeout=1 rootfs={url} init={init} " + s.cmdline
		t.Run(name, s.run)
	}
}

// Keys in the initrd make a signed manifest a must; no parameter loosens that.
func TestSignedManifest(t *testing.T) {
	t.Parallel()
	const trusted = "/etc/netstage/trusted.d/"
	ours := map[string]string{trusted + "ops.pub": "{ops.pub}", trusted + "other.pub": "{other.pub}"}
	unknown := map[string]string{trusted + "other.pub": "{other.pub}"}
	misnamed := map[string]string{trusted + "ops": "{ops.pub}"}
	broken := map[string]string{trusted + "ops.pub": "{image}"}
	allInOne := map[string]string{trusted + "ops.pub": "{ops.pub}", "/nix-store.squashfs": "{image}"}
	signed := map[string]string{
		trusted + "ops.pub": "{ops.pub}", "/image.squashfs": "{image}", "/image.squashfs.verity": "{tree}", "/m": "{manifest}", "/m.minisig": "{minisig}",
	}
	for name, s := range map[string]scenario{
		"names all": {copies: ours, cmdline: "rootfs.manifest={dir}/test.manifest", shown: []string{
			`manifest: "test" of `, "signed by ops.pub", "init {init}", `"name": "test"`, `"roothash": "{roothash}`, `!"sha256": "`}}, // hashed once
		"relative": {copies: ours, cmdline: "rootfs.manifest=test.manifest rootfs.base={dir} init={init}"},
		"credentials": {copies: ours, cmdline: "rootfs.manifest=http://user:geheim@{addr}/test.manifest",
			shown: []string{"manifest: 1 MiB from http://10.77.0.1", "!geheim"}},
		"mirror of the image":  {copies: ours, cmdline: "rootfs.manifest={dir}/test.manifest rootfs={url} rootfs.sha256={sha256}"},
		"in the initrd":        {copies: signed, cmdline: "rootfs.manifest=/m", shown: []string{"network: not needed"}},
		"image fetched":        {copies: signed, cmdline: "rootfs.manifest=/m rootfs={url}", shown: []string{"image: 2 MiB from"}},
		"unknown key":          {copies: unknown, cmdline: "rootfs.manifest={dir}/test.manifest", ends: refused("signature"), shown: []string{"signed by unknown key", "trusted are other.pub"}},
		"replayed":             {copies: ours, cmdline: "rootfs.manifest={dir}/test.manifest init=/bin/sh", ends: refused("policy"), shown: []string{"init=/bin/sh is not the one it names"}},
		"unsigned":             {copies: ours, cmdline: "rootfs={url} rootfs.sha256={sha256}", ends: refused("signature"), shown: []string{"must be signed by ops.pub or other.pub", "rootfs.manifest="}},
		"unsigned, all in one": {copies: allInOne, cmdline: "rootfs.sha256={sha256}", ends: refused("signature"), shown: []string{"must be signed by ops.pub"}},
		"no key":               {cmdline: "rootfs.manifest={dir}/test.manifest", ends: refused("signature"), shown: []string{"no trusted key"}},
		"key that is none":     {copies: broken, cmdline: "rootfs.manifest={dir}/test.manifest", ends: refused("policy"), shown: []string{"public key ops.pub"}},
		"keys by another name": {copies: misnamed, cmdline: "rootfs={url}", ends: refused("policy"), shown: []string{"trusted.d holds no *.pub"}},
		"other digest asked":   {copies: ours, cmdline: "rootfs.manifest={dir}/test.manifest roothash={sha256}", ends: refused("policy"), shown: []string{"the root hash asked for is"}},
		"one signature of two": {copies: ours, files: map[string]string{"/etc/netstage/policy.json": `{"version": 1, "signatures": 2}`},
			cmdline: "rootfs.manifest={dir}/test.manifest", ends: refused("signature"), shown: []string{"2 keys have to sign of ops.pub, other.pub"}},
		"another name":    {copies: ours, cmdline: "rootfs.manifest={dir}/test.manifest rootfs.manifest.name=web", ends: refused("policy"), shown: []string{`of "test", and "web" is wanted`}},
		"no list of keys": {copies: ours, cmdline: "rootfs.manifest={dir}/test.manifest rootfs.manifest.keys={dir}/test.manifest", ends: refused("manifest"), shown: []string{"not a key list"}},
		"image changed": {copies: ours, lan: mirrored(always(faulty.Behaviour{Flip: []int64{half}})...), cmdline: "rootfs.manifest={dir}/test.manifest",
			ends: refused("mismatch"), shown: []string{"block 97"}},
		"image of another size": {copies: ours, lan: mirrored(always(faulty.Behaviour{Length: 1 << 45})...), cmdline: "rootfs.manifest={dir}/test.manifest", ends: refused("mismatch")},
	} {
		if s.lan == nil {
			s.lan = &network{}
		}
		if s.ends.end != "" {
			s.shown = append(s.shown, "!root (7/8)")
		}
		s.cmdline = "boot.fail_timeout=1 " + s.cmdline
		t.Run(name, s.run)
	}
}

// https: the initrd says whom to trust, and a digest makes up for a clock that
// is wrong or a certificate that ran out.
func TestHTTPS(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ca := newAuthority(t, now)
	ours, other := ca.pem, newAuthority(t, now).pem
	good := ca.server(t, now.Add(-time.Hour), now.Add(time.Hour), net.ParseIP(nsmachine.Gateway))
	expired := ca.server(t, now.Add(-2*time.Hour), now.Add(-time.Hour), net.ParseIP(nsmachine.Gateway))
	const bundle, own = "/etc/ssl/certs/ca-certificates.crt", "/etc/netstage/ca.pem"
	secure := func(config *tls.Config) *network { return &network{mirrors: []mirror{{tls: config}}} }
	for name, s := range map[string]scenario{
		"bundle":                    {lan: secure(good), files: map[string]string{bundle: ours}},
		"own authority":             {lan: secure(good), files: map[string]string{own: ours, bundle: other}, cmdline: "rootfs.sha256={sha256}"},
		"pinned authority":          {lan: secure(good), files: map[string]string{"/ca": ours, bundle: other}, cmdline: "rootfs.ca=/ca"},
		"unknown authority":         {lan: secure(good), files: map[string]string{bundle: other}, cmdline: "rootfs.sha256={sha256}", ends: refused("tls"), shown: []string{"not from a trusted authority"}},
		"no authority":              {lan: secure(good), cmdline: "rootfs.sha256={sha256}", ends: refused("tls"), shown: []string{"not from a trusted authority", "the initrd has neither /etc/netstage/ca.pem nor"}},
		"own authority not widened": {lan: secure(good), files: map[string]string{own: other, "/ca": ours}, cmdline: "rootfs.ca=/ca", ends: refused("policy"), shown: []string{"allows the authorities of /etc/netstage/ca.pem alone"}},
		"authority missing":         {lan: secure(good), cmdline: "rootfs.ca=/ca", ends: refused("policy"), shown: []string{"/ca"}},
		"expired":                   {lan: secure(expired), files: map[string]string{bundle: ours}, ends: refused("tls-date"), shown: []string{"certificate has expired"}},
		"expired, pinned":           {lan: secure(expired), files: map[string]string{bundle: ours}, cmdline: "rootfs.sha256={sha256}", shown: []string{"its dates are passed over, the image itself is verified"}},
		"expired, tree":             {lan: secure(expired), files: map[string]string{bundle: ours}, cmdline: "roothash={roothash}", shown: []string{"its dates are passed over, the verity tree itself is verified"}},
		"expired, signed": {lan: secure(expired), files: map[string]string{bundle: ours}, copies: map[string]string{"/etc/netstage/trusted.d/ops.pub": "{ops.pub}"},
			cmdline: "rootfs.manifest={dir}/test.manifest", shown: []string{"its dates are passed over, the signature itself is verified"}},
	} {
		s.cmdline = "boot.fail_timeout=1 init={init} rootfs={url} " + s.cmdline
		t.Run(name, s.run)
	}
}

// A disk and a server are mirrors of each other, in whatever order: a disk that
// is not there, or has no such file or another image, keeps nobody from asking
// the server, nor a server without the image from looking at the disk. So are
// several disks.
func TestDiskAndServerAreMirrors(t *testing.T) {
	t.Parallel()
	needRoot(t)
	tree := t.TempDir()
	writeFile(t, tree+"/wrong", strings.Repeat("x", 100_000))
	writeFile(t, tree+"/empty", "")
	disk := label("mirror")
	plug(t, ext4(t, disk, tree))
	wrong := map[string]string{"/wrong": tree + "/wrong"}
	run(t, "cp", vouchOnce(t, classic()).path, tree+"/image")
	late := ext4(t, label("late"), tree)
	for name, s := range map[string]scenario{
		"no such disk":       {cmdline: "rootfs=LABEL=none-of-these:/image rootfs={url}"},
		"no such disk, last": {cmdline: "rootfs={url} rootfs=LABEL=none-of-these:/image"},
		"no such file on the server": {
			cmdline: "rootfs=http://{none}/x rootfs=LABEL=" + label("late") + ":/image",
			story:   []step{shows("404 Not Found", "the disk is still waited for"), plugs(late)},
		},
		"no such file on the disk":  {cmdline: "rootfs=LABEL=" + disk + ":/none rootfs={url}"},
		"another image on the disk": {cmdline: "rootfs=LABEL=" + disk + ":/wrong rootfs={url}"},
		"nothing in the file":       {cmdline: "rootfs={url} rootfs=LABEL=" + disk + ":/empty"},
		"no image on the disk":      {cmdline: "rootfs=LABEL=" + disk + " rootfs={url}"},
		"another in the initrd":     {cmdline: "rootfs=/wrong rootfs={url}", copies: wrong},
		"several, the last is it":   {cmdline: "rootfs=/none rootfs=LABEL=" + disk + ":/wrong rootfs=/nix-store.squashfs", copies: inInitrd, shown: []string{"sha256 is", "now the next place"}},
		"none is it": {
			cmdline: "rootfs=/wrong rootfs=http://{none}/x boot.fail_timeout=1", copies: wrong,
			ends: refused("http-404"), shown: []string{"404 Not Found", "sha256 is"},
		},
	} {
		s.lan = &network{web: map[string]http.Handler{"none": http.NotFoundHandler()}}
		s.cmdline += " init={init} rootfs.sha256={sha256}"
		t.Run(name, s.run)
	}
}
