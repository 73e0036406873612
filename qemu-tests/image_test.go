package qemutests

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aead.dev/minisign"

	"netstage/fetch/faulty"
	"netstage/fetch/manifest"
	"netstage/fetch/verity"
	"netstage/qemu-tests/nsmachine"
	"netstage/qemu-tests/system"
)

// vouched is an image with all that may vouch for it.
type vouched struct {
	artifact
	content, tree   []byte
	root            string // hex
	key             minisign.PrivateKey
	dir             string // with the public keys: ops.pub, other.pub
	body, signature []byte // of the manifest
}

func vouch(t *testing.T) vouched {
	t.Helper()
	return vouchFor(t, store(t, classic()))
}

func vouchFor(t *testing.T, a artifact) vouched {
	t.Helper()
	v := vouched{artifact: a, dir: t.TempDir()}
	var err error
	if v.content, err = os.ReadFile(v.path); err != nil {
		t.Fatal(err)
	}
	var tree bytes.Buffer
	root, err := verity.Build(bytes.NewReader(v.content), int64(len(v.content)), &tree, verity.Options{Salt: []byte("salt")})
	if err != nil {
		t.Fatal(err)
	}
	v.tree, v.root = tree.Bytes(), fmt.Sprintf("%x", root)
	for _, name := range []string{"other.pub", "ops.pub"} {
		var public minisign.PublicKey
		if public, v.key, err = minisign.GenerateKey(nil); err != nil {
			t.Fatal(err)
		}
		text, err := public.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(v.dir, name), string(text))
	}
	m := manifest.Manifest{Name: "test", Created: time.Now(), Init: system.Init, Images: []manifest.Image{{Path: "image.squashfs", Size: int64(len(v.content))}}}
	if err := m.Images[0].SHA256.UnmarshalText([]byte(v.sha256)); err != nil {
		t.Fatal(err)
	}
	m.Images[0].RootHash = root
	if v.body, err = m.Marshal(); err != nil {
		t.Fatal(err)
	}
	if v.signature, err = manifest.Sign(v.key, v.body, "test"); err != nil {
		t.Fatal(err)
	}
	return v
}

// serve serves it in the LAN, with faults of the image alone.
func (v vouched) serve(t *testing.T, lan *nsmachine.LAN, secure *tls.Config, script ...faulty.Behaviour) *faulty.Server {
	t.Helper()
	s := faulty.Serve(lan.Listen(t, nsmachine.Gateway+":0"), secure, v.content, script...)
	t.Cleanup(func() { s.Close() })
	v.addTo(s)
	return s
}

// addTo serves what vouches for the image.
func (v vouched) addTo(s *faulty.Server) {
	s.Add("image.squashfs.verity", v.tree)
	s.Add("test.manifest", v.body)
	s.Add("test.manifest.minisig", v.signature)
}

func always(b faulty.Behaviour) []faulty.Behaviour {
	b.Times = -1
	return []faulty.Behaviour{b}
}

// The faults of servers and networks, met by a whole boot. In what the machine
// is told, URL and URL2 are the mirrors, SHA and ROOT the image's digests. The
// last of a story's texts begin with "!": they must not be on the console.
func TestFaults(t *testing.T) {
	t.Parallel()
	v := vouch(t)
	const sha, root = " rootfs.sha256=SHA", " roothash=ROOT"
	flip := faulty.Behaviour{Flip: []int64{half}}
	wrongBlock := fmt.Sprintf("block %d (byte %d)", half/4096, half/4096*4096)
	for name, test := range map[string]struct {
		script, second []faulty.Behaviour // of the mirrors
		cmdline        string
		fails          string // class; empty: stage 2 is reached
		want           []string
	}{
		"drop":              {script: []faulty.Behaviour{{End: faulty.EndClose, Cut: half}}, cmdline: sha, want: []string{"connection closed early", "resuming at"}},
		"reset":             {script: []faulty.Behaviour{{End: faulty.EndReset, Cut: half}}, cmdline: root, want: []string{"connection reset", "resuming at"}},
		"stall":             {script: []faulty.Behaviour{{End: faulty.EndStall, Cut: half}}, cmdline: sha + " rootfs.floor=65536/1", want: []string{"stalled: ", "over 1s, the floor is 64 KiB/s", "resuming at"}},
		"short, no length":  {script: []faulty.Behaviour{{End: faulty.EndClose, Cut: half, NoLength: true}}, cmdline: sha, want: []string{"ended after 400000 bytes, which do not verify"}},
		"short, unvouched":  {script: []faulty.Behaviour{{End: faulty.EndClose, Cut: half, NoLength: true}}, fails: "bad-image", want: []string{"nothing vouches for these 400000 bytes being all", "cut short"}},
		"wrong byte":        {script: always(flip), cmdline: sha, fails: "mismatch", want: []string{"serves a wrong image: sha256 is", "!root (7/8)"}},
		"wrong byte, tree":  {script: always(flip), cmdline: root, fails: "mismatch", want: []string{"serves a wrong image: " + wrongBlock, "!root (7/8)"}},
		"wrong byte of one": {script: always(flip), second: []faulty.Behaviour{{}}, cmdline: root + " rootfs=URL2", want: []string{"serves a wrong image: " + wrongBlock, "resuming at"}},
		"503":               {script: []faulty.Behaviour{{Status: 503, RetryAfter: "1"}}, cmdline: sha, want: []string{"503 Service Unavailable", "next try in "}},
		"404":               {script: always(faulty.Behaviour{Status: 404}), cmdline: sha, fails: "http-404", want: []string{"404 Not Found for http://"}},
		"404 of one":        {script: always(faulty.Behaviour{Status: 404}), second: []faulty.Behaviour{{}}, cmdline: sha + " rootfs=URL2", want: []string{"404 Not Found for http://", "next try from"}},
		"redirect loop":     {script: always(faulty.Behaviour{Location: "loop"}), cmdline: sha, fails: "redirect", want: []string{"more than 10 redirects"}},
		"chunked":           {script: always(faulty.Behaviour{Chunked: true}), cmdline: root},
		"chunked and cut":   {script: []faulty.Behaviour{{Chunked: true, End: faulty.EndReset, Cut: half}}, cmdline: sha, want: []string{"resuming at"}},
		"changed ETag":      {script: []faulty.Behaviour{{End: faulty.EndClose, Cut: half}, {ETag: `"new"`, Times: -1}}, cmdline: sha, want: []string{"starting over at"}},
		"larger than memory": {script: always(faulty.Behaviour{Length: 1 << 45}), fails: "no-memory",
			want: []string{"the image needs 33554432 MiB of memory", "make the image smaller"}},
		"larger than pinned": {script: always(faulty.Behaviour{Length: 1 << 45}), cmdline: root, fails: "mismatch", want: []string{"expected "}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lan := nsmachine.NewLAN(t)
			lan.DHCP(t)
			first := v.serve(t, lan, nil, test.script...).URL("image.squashfs")
			second := ""
			if test.second != nil {
				second = v.serve(t, lan, nil, test.second...).URL("image.squashfs")
			}
			words := strings.NewReplacer("URL2", second, "SHA", v.sha256, "ROOT", v.root)
			m := boot(t, nsmachine.Config{LAN: lan, Cmdline: "boot.fail_timeout=1 init=" + system.Init + " rootfs=" + first + words.Replace(test.cmdline)})
			expectVerdict(t, m, test.fails, test.want)
		})
	}
}

// expectVerdict waits for stage 2, or for the failure of a class.
func expectVerdict(t *testing.T, m *nsmachine.Machine, fails string, want []string) {
	t.Helper()
	if fails == "" {
		expectEnd(t, m, nsmachine.PoweredOff, append(want, "stage 2 done")...)
		return
	}
	expectEnd(t, m, nsmachine.Rebooted, append(want, "boot failed: "+fails, "!stage 2: pid 1")...)
}

// A server that is not up yet is waited for.
func TestRefusedThenServed(t *testing.T) {
	t.Parallel()
	v := vouch(t)
	lan := nsmachine.NewLAN(t)
	lan.DHCP(t)
	listener := lan.Listen(t, nsmachine.Gateway+":0")
	address := listener.Addr().String()
	listener.Close()
	m := boot(t, nsmachine.Config{LAN: lan, Cmdline: "rootfs=http://" + address + "/image.squashfs init=" + system.Init + " rootfs.sha256=" + v.sha256})
	m.Expect("connection refused")
	s := faulty.Serve(lan.Listen(t, address), nil, v.content)
	t.Cleanup(func() { s.Close() })
	expectEnd(t, m, nsmachine.PoweredOff, "stage 2 done", "next try in")
}

// A verity tree: asked for before the image, of an image in the initrd too.
func TestVerity(t *testing.T) {
	t.Parallel()
	v := vouch(t)
	tree := filepath.Join(v.dir, "tree")
	writeFile(t, tree, string(v.tree))
	wrongTree := filepath.Join(v.dir, "wrong")
	writeFile(t, wrongTree, string(v.tree[:4096])+strings.Repeat("x", 4096)+string(v.tree[8192:]))
	wrongImage := filepath.Join(v.dir, "image")
	writeFile(t, wrongImage, string(v.content[:half])+"x"+string(v.content[half+1:]))

	t.Run("fetched", func(t *testing.T) {
		t.Parallel()
		lan := nsmachine.NewLAN(t)
		lan.DHCP(t)
		s := v.serve(t, lan, nil)
		m := boot(t, nsmachine.Config{LAN: lan, Cmdline: "rootfs=" + s.URL("image.squashfs") + " rootfs.roothash=" + v.root + " rootfs.sha256=" + v.sha256 + " init=" + system.Init})
		expectEnd(t, m, nsmachine.PoweredOff, "stage 2 done", `"roothash": "`+v.root+`"`, `"sha256": "`+v.sha256+`"`, "verity tree: ", "!nothing vouches")
		if log := s.Log(); len(log) != 2 || log[0].Path != "/image.squashfs.verity" {
			t.Errorf("requests: %+v", log)
		}
	})
	t.Run("wrong tree", func(t *testing.T) {
		t.Parallel()
		lan := nsmachine.NewLAN(t)
		lan.DHCP(t)
		s := v.serve(t, lan, nil)
		m := boot(t, nsmachine.Config{LAN: lan, Cmdline: "boot.fail_timeout=1 init=" + system.Init + " rootfs=" + s.URL("image.squashfs") + " rootfs.verity=" + s.URL("other") + " roothash=" + v.root})
		s.Add("other", append(append([]byte{}, v.tree[:4096]...), v.content...))
		expectVerdict(t, m, "mismatch", []string{"serves a wrong verity tree: hash block"})
		for _, e := range s.Log() {
			if e.Path != "/other" {
				t.Errorf("asked for %s", e.Path)
			}
		}
	})
	for name, test := range map[string]struct {
		files   map[string]string
		cmdline string
		fails   string
		want    []string
	}{
		"in the initrd": {map[string]string{"/nix-store.squashfs": v.path, "/nix-store.squashfs.verity": tree}, "", "", []string{`"roothash": "` + v.root}},
		"elsewhere":     {map[string]string{"/nix-store.squashfs": v.path, "/a/tree": tree}, "rootfs.verity=/a/tree", "", nil},
		"missing":       {map[string]string{"/nix-store.squashfs": v.path}, "", "no-image", []string{"verity tree: ", "!root (7/8)"}},
		"wrong":         {map[string]string{"/nix-store.squashfs": v.path, "/nix-store.squashfs.verity": wrongTree}, "", "mismatch", []string{"hash block", "!root (7/8)"}},
		"wrong image":   {map[string]string{"/nix-store.squashfs": wrongImage, "/nix-store.squashfs.verity": tree}, "", "mismatch", []string{"block 97", "!root (7/8)"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := boot(t, nsmachine.Config{Files: test.files, Cmdline: "boot.fail_timeout=1 roothash=" + v.root + " init=" + system.Init + " " + test.cmdline})
			expectVerdict(t, m, test.fails, test.want)
		})
	}
}

const half = 400_000

// Keys in the initrd make a signed manifest a must; no parameter loosens that.
func TestSignedManifest(t *testing.T) {
	t.Parallel()
	v := vouch(t)
	body, signature := filepath.Join(v.dir, "m"), filepath.Join(v.dir, "m.minisig")
	writeFile(t, body, string(v.body))
	writeFile(t, signature, string(v.signature))
	const trusted = "/etc/netstage/trusted.d/"
	ours := map[string]string{trusted + "ops.pub": filepath.Join(v.dir, "ops.pub"), trusted + "other.pub": filepath.Join(v.dir, "other.pub")}
	unknown := map[string]string{trusted + "other.pub": filepath.Join(v.dir, "other.pub")}
	misnamed := map[string]string{trusted + "ops": filepath.Join(v.dir, "ops.pub")}
	broken := map[string]string{trusted + "ops.pub": v.path}
	allInOne := map[string]string{trusted + "ops.pub": filepath.Join(v.dir, "ops.pub"), "/nix-store.squashfs": v.path}
	signed := map[string]string{
		trusted + "ops.pub": filepath.Join(v.dir, "ops.pub"), "/image.squashfs": v.path, "/image.squashfs.verity": filepath.Join(v.dir, "tree"),
		"/m": body, "/m.minisig": signature,
	}
	writeFile(t, filepath.Join(v.dir, "tree"), string(v.tree))
	for name, test := range map[string]struct {
		files   map[string]string
		script  []faulty.Behaviour
		cmdline string
		fails   string
		want    []string
	}{
		"names all": {ours, nil, "rootfs.manifest=DIR/test.manifest", "", []string{
			`manifest: "test" of `, "signed by ops.pub", "init " + system.Init, `"name": "test"`, `"roothash": "` + v.root, `!"sha256": "`}}, // hashed once
		"relative":              {ours, nil, "rootfs.manifest=test.manifest rootfs.base=DIR init=" + system.Init, "", nil},
		"credentials":           {ours, nil, "rootfs.manifest=LOGIN/test.manifest", "", []string{"manifest: 1 MiB from http://10.77.0.1", "!geheim"}},
		"mirror of the image":   {ours, nil, "rootfs.manifest=DIR/test.manifest rootfs=DIR/image.squashfs rootfs.sha256=SHA", "", nil},
		"in the initrd":         {signed, nil, "rootfs.manifest=/m", "", []string{"network: not needed"}},
		"image fetched":         {signed, nil, "rootfs.manifest=/m rootfs=DIR/image.squashfs", "", []string{"image: 2 MiB from"}},
		"unknown key":           {unknown, nil, "rootfs.manifest=DIR/test.manifest", "signature", []string{"signed by unknown key", "trusted are other.pub"}},
		"replayed":              {ours, nil, "rootfs.manifest=DIR/test.manifest init=/bin/sh", "policy", []string{"init=/bin/sh is not the one it names"}},
		"unsigned":              {ours, nil, "rootfs=DIR/image.squashfs rootfs.sha256=SHA", "signature", []string{"must be signed by ops.pub or other.pub", "rootfs.manifest="}},
		"unsigned, all in one":  {allInOne, nil, "rootfs.sha256=SHA", "signature", []string{"must be signed by ops.pub"}},
		"no key":                {nil, nil, "rootfs.manifest=DIR/test.manifest", "signature", []string{"no trusted key"}},
		"key that is none":      {broken, nil, "rootfs.manifest=DIR/test.manifest", "policy", []string{"public key ops.pub"}},
		"keys by another name":  {misnamed, nil, "rootfs=DIR/image.squashfs", "policy", []string{"trusted.d holds no *.pub"}},
		"other digest asked":    {ours, nil, "rootfs.manifest=DIR/test.manifest roothash=SHA", "policy", []string{"the root hash asked for is"}},
		"image changed":         {ours, always(faulty.Behaviour{Flip: []int64{half}}), "rootfs.manifest=DIR/test.manifest", "mismatch", []string{"block 97"}},
		"image of another size": {ours, always(faulty.Behaviour{Length: 1 << 45}), "rootfs.manifest=DIR/test.manifest", "mismatch", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lan := nsmachine.NewLAN(t)
			lan.DHCP(t)
			dir := strings.TrimSuffix(v.serve(t, lan, nil, test.script...).URL(""), "/")
			words := strings.NewReplacer("DIR", dir, "SHA", v.sha256, "LOGIN", strings.Replace(dir, "//", "//user:geheim@", 1))
			m := boot(t, nsmachine.Config{LAN: lan, Files: test.files, Cmdline: "boot.fail_timeout=1 " + words.Replace(test.cmdline)})
			if test.fails != "" {
				test.want = append(test.want, "!root (7/8)")
			}
			expectVerdict(t, m, test.fails, test.want)
		})
	}
}

// https: the initrd says whom to trust, and a digest makes up for a clock that
// is wrong or a certificate that ran out.
func TestHTTPS(t *testing.T) {
	t.Parallel()
	v := vouch(t)
	now := time.Now()
	ca := newAuthority(t, now)
	caFile, otherFile := filepath.Join(v.dir, "ca.pem"), filepath.Join(v.dir, "other.pem")
	writeFile(t, caFile, ca.pem)
	writeFile(t, otherFile, newAuthority(t, now).pem)
	good := ca.server(t, now.Add(-time.Hour), now.Add(time.Hour), net.ParseIP(nsmachine.Gateway))
	expired := ca.server(t, now.Add(-2*time.Hour), now.Add(-time.Hour), net.ParseIP(nsmachine.Gateway))
	const bundle, own = "/etc/ssl/certs/ca-certificates.crt", "/etc/netstage/ca.pem"
	trusted := "/etc/netstage/trusted.d/ops.pub"
	for name, test := range map[string]struct {
		config  *tls.Config
		files   map[string]string
		cmdline string
		fails   string
		want    []string
	}{
		"bundle":                    {good, map[string]string{bundle: caFile}, "", "", nil},
		"own authority":             {good, map[string]string{own: caFile, bundle: otherFile}, "rootfs.sha256=SHA", "", nil},
		"pinned authority":          {good, map[string]string{"/ca": caFile, bundle: otherFile}, "rootfs.ca=/ca", "", nil},
		"unknown authority":         {good, map[string]string{bundle: otherFile}, "rootfs.sha256=SHA", "tls", []string{"not from a trusted authority"}},
		"no authority":              {good, nil, "rootfs.sha256=SHA", "tls", []string{"not from a trusted authority", "the initrd has neither /etc/netstage/ca.pem nor"}},
		"own authority not widened": {good, map[string]string{own: otherFile, "/ca": caFile}, "rootfs.ca=/ca", "policy", []string{"allows the authorities of /etc/netstage/ca.pem alone"}},
		"authority missing":         {good, nil, "rootfs.ca=/ca", "policy", []string{"/ca"}},
		"expired":                   {expired, map[string]string{bundle: caFile}, "", "tls-date", []string{"certificate has expired"}},
		"expired, pinned":           {expired, map[string]string{bundle: caFile}, "rootfs.sha256=SHA", "", []string{"its dates are passed over, the image itself is verified"}},
		"expired, tree":             {expired, map[string]string{bundle: caFile}, "roothash=ROOT", "", []string{"its dates are passed over, the verity tree itself is verified"}},
		"expired, signed":           {expired, map[string]string{bundle: caFile, trusted: filepath.Join(v.dir, "ops.pub")}, "rootfs.manifest=DIR/test.manifest", "", []string{"its dates are passed over, the signature itself is verified"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lan := nsmachine.NewLAN(t)
			lan.DHCP(t)
			s := v.serve(t, lan, test.config)
			words := strings.NewReplacer("SHA", v.sha256, "ROOT", v.root, "DIR", strings.TrimSuffix(s.URL(""), "/"))
			m := boot(t, nsmachine.Config{LAN: lan, Files: test.files,
				Cmdline: "boot.fail_timeout=1 init=" + system.Init + " rootfs=" + s.URL("image.squashfs") + " " + words.Replace(test.cmdline)})
			expectVerdict(t, m, test.fails, test.want)
		})
	}
}
