package qemutests

import (
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"netstage/cmd/netstage/initrd"
	"netstage/cmd/netstage/vm"
	"netstage/fetch/faulty"
	"netstage/qemu-tests/nsmachine"
	"netstage/qemu-tests/system"
	"netstage/qemu-tests/trunk"
)

// The faults that TestFaults shows to a boot in namespaces, met by real
// kernels, several in one boot. Each fault is a server's real misbehaviour.

// faultyGuest is a machine that boots what a server of this host has.
func faultyGuest(t *testing.T, append string, files ...initrd.File) vm.Config {
	t.Helper()
	c := guest(t, xzModules, files...)
	c.Direct, c.Memory, c.Append = true, 512, append
	return c
}

// One download meets them all: nobody listens, 503, a drop, a reset, a body
// that ends early without a length, a stall, a broken chunked body, another
// ETag. What was there is kept, since a digest vouches for it. The
// machine is on a LAN, since QEMU's own network makes drops of resets.
func TestQEMUFaultsInOneDownload(t *testing.T) {
	t.Parallel()
	v := vouch(t)
	lan := nsmachine.NewLAN(t)
	lan.DHCP(t)
	listener := lan.Listen(t, nsmachine.Gateway+":0")
	address := listener.Addr().String()
	listener.Close()
	const cut = 100_000
	c := faultyGuest(t, "init="+system.Init+" rootfs.floor=65536/1 rootfs.sha256="+v.sha256+" rootfs=http://"+address+"/image.squashfs")
	var cable trunk.Trunk
	cable.Start(t, lan.Tap(t), 1)
	c.NICs = []vm.NIC{{Backend: cable.Backend(0)}}
	m := start(t, c)
	m.expect("connection refused")
	s := faulty.Serve(lan.Listen(t, address), nil, v.content,
		faulty.Behaviour{Status: 503, RetryAfter: "1"},
		faulty.Behaviour{End: faulty.EndClose, Cut: cut},
		faulty.Behaviour{End: faulty.EndReset, Cut: cut},
		faulty.Behaviour{End: faulty.EndClose, Cut: cut, NoLength: true},
		faulty.Behaviour{End: faulty.EndStall, Cut: cut},
		faulty.Behaviour{End: faulty.EndClose, Cut: cut, Chunked: true},
		faulty.Behaviour{ETag: `"new"`, Times: -1})
	t.Cleanup(func() { s.Close() })
	for _, text := range []string{
		"503 Service Unavailable", "connection closed early", "connection reset", "the body ended early",
	} {
		m.expect(text)
	}
	// While one stream stalls others may be tried, so what follows comes in any
	// order.
	m.end(vm.PowerOff, "resuming at", "stalled: ", "!starting over at ", ", verified", "stage 2 done")
	var ranges []string
	for _, e := range s.Log() {
		ranges = append(ranges, e.Range)
	}
	// A reset may take with it what was under way.
	if got := strings.Join(ranges, " "); !strings.HasPrefix(got, "  bytes=100000- bytes=") || len(ranges) < 7 {
		t.Errorf("asked for %q", ranges)
	}
}

// A failure that no retry mends is a screen with its class; a key tries again
// and meets the next one, until the server is in order.
func TestQEMUPermanentFaults(t *testing.T) {
	t.Parallel()
	v := vouch(t)
	s := v.serveLocal(t,
		faulty.Behaviour{Status: 404},
		faulty.Behaviour{Location: "loop", Times: 11},
		faulty.Behaviour{Length: 1 << 45},
		faulty.Behaviour{Flip: []int64{half}})
	m := start(t, faultyGuest(t, "boot.fail_timeout=0 init="+system.Init+" rootfs.sha256="+v.sha256+" rootfs="+toGuest(s.URL("image.squashfs"))))
	for _, texts := range [][]string{
		{"boot failed: http-404", "404 Not Found for http://10.0.2.2:"},
		{"boot failed: redirect", "more than 10 redirects"},
		{"boot failed: no-memory", "33554432 MiB of memory"},
		{"boot failed: mismatch", "serves a wrong image: sha256"},
	} {
		for _, text := range append(texts, "Keys: ") {
			m.expect(text)
		}
		if strings.Contains(m.Console(), "root (7/8)") {
			t.Error("something was mounted")
		}
		m.send("x")
	}
	m.end(vm.PowerOff, "stage 2 done", "verified")
}

// The clock says 1970, the first mirror's certificate ran out, and it serves a
// wrong byte besides: its dates are passed over because a tree vouches for the
// image, its block is found, and the other mirror goes on from there.
func TestQEMUWrongByteOfOneMirror(t *testing.T) {
	t.Parallel()
	v := vouch(t)
	ca := newAuthority(t, time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC))
	expired := ca.server(t, time.Date(2020, 6, 1, 0, 0, 0, 0, time.UTC), time.Date(2021, 6, 1, 0, 0, 0, 0, time.UTC), net.IPv4(10, 0, 2, 2))
	bad, err := faulty.ListenTLS("127.0.0.1:0", expired, v.content, always(faulty.Behaviour{Flip: []int64{half}})...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bad.Close() })
	v.addTo(bad)
	good := v.serveLocal(t)
	file := filepath.Join(v.dir, "ca.pem")
	writeFile(t, file, ca.pem)
	c := faultyGuest(t, "init="+system.Init+" roothash="+v.root+" rootfs="+toGuest(bad.URL("image.squashfs"))+" rootfs="+toGuest(good.URL("image.squashfs")),
		initrd.File{Source: file, Target: "/etc/netstage/ca.pem"})
	c.ExtraArgs = []string{"-rtc", "base=1970-01-01"}
	start(t, c).end(vm.PowerOff, "stage 2 done", "clock: 1970-01-01 00:00:", "certificate is valid from 2020-06-01 to 2021-06-01", "its dates are passed over",
		fmt.Sprintf("serves a wrong image: block %d (byte %d)", half/4096, half/4096*4096), "resuming at 0/2 MiB from "+toGuest(good.Addr()))
	if log := good.Log(); len(log) != 1 || log[0].Range != fmt.Sprintf("bytes=%d-", half/4096*4096) {
		t.Errorf("the good mirror was asked for %+v", log)
	}
}

// Nothing vouches for the image: a certificate that ran out is no server to
// take it from, and half an image whose server sent no length is not mounted.
func TestQEMUUnvouchedFaults(t *testing.T) {
	t.Parallel()
	v := vouch(t)
	now := time.Now()
	ca, host := newAuthority(t, now), net.IPv4(10, 0, 2, 2)
	expired, valid := ca.server(t, now.AddDate(0, -6, 0), now.AddDate(0, -5, 0), host), ca.server(t, now.AddDate(0, -6, 0), now.AddDate(0, 6, 0), host)
	var renewed atomic.Bool
	config := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if renewed.Load() {
			return &valid.Certificates[0], nil
		}
		return &expired.Certificates[0], nil
	}}
	s, err := faulty.ListenTLS("127.0.0.1:0", config, v.content, faulty.Behaviour{End: faulty.EndClose, Cut: half, NoLength: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	file := filepath.Join(v.dir, "ca.pem")
	writeFile(t, file, ca.pem)
	m := start(t, faultyGuest(t, "boot.fail_timeout=0 init="+system.Init+" rootfs="+toGuest(s.URL("image.squashfs")),
		initrd.File{Source: file, Target: "/etc/netstage/ca.pem"}))
	m.expect("boot failed: tls-date")
	m.expect("Keys: ")
	if len(s.Log()) > 0 {
		t.Errorf("requests: %+v", s.Log())
	}
	renewed.Store(true)
	m.send("x")
	m.expect("sent no length, and nothing vouches for these 400000 bytes being all")
	m.expect("boot failed: bad-image")
	m.expect("cut short")
	m.expect("Keys: ")
	m.send("x")
	m.end(vm.PowerOff, "stage 2 done")
}

// With a key in the initrd: a manifest that somebody else signed, then the
// right one replayed for another init. Nothing is ever fetched, let alone
// mounted.
func TestQEMUManifestRefused(t *testing.T) {
	t.Parallel()
	v := vouch(t)
	s := v.serveLocal(t)
	stranger := vouchFor(t, v.artifact)
	s.Add("test.manifest", stranger.body)
	s.Add("test.manifest.minisig", stranger.signature)
	m := start(t, faultyGuest(t, "boot.fail_timeout=0 init=/bin/sh rootfs.manifest="+toGuest(s.URL("test.manifest")),
		initrd.File{Source: filepath.Join(v.dir, "ops.pub"), Target: "/etc/netstage/trusted.d/ops.pub"}))
	m.expect("boot failed: signature")
	m.expect("signed by unknown key")
	m.expect("Keys: ")
	v.addTo(s)
	m.send("x")
	m.expect("boot failed: policy")
	m.expect("init=/bin/sh is not the one it names")
	m.expect("Keys: ")
	m.send("r")
	m.end(vm.Reset, "!root (7/8)")
	for _, e := range s.Log() {
		if !strings.HasPrefix(e.Path, "/test.manifest") {
			t.Errorf("asked for %s", e.Path)
		}
	}
}
