package qemutests

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"netstage/cmd/netstage/image"
	"netstage/cmd/netstage/initrd"
	"netstage/cmd/netstage/netboot"
	"netstage/cmd/netstage/vm"
	"netstage/fetch/oci/peer"
	"netstage/qemu-tests/system"
)

// wholeMatrix is for "make stream": all faults, and all systems. Else a sample
// of them is enough.
var wholeMatrix = os.Getenv("NETSTAGE_STREAM") == "all"

// streamTell tells what is left when the image is whole.
const streamTell = `
while ! grep -q '"complete"' /run/netstage/stream.json; do sleep 1; done
sleep 1
echo "then: $(cat /run/netstage/stream.json)"
for file in /proc/[0-9]*/cmdline; do echo "process: $(tr '\0' ' ' < $file 2>&1)"; done
for dir in /sys/block/*; do echo "block: ${dir##*/}"; done
for dir in /sys/block/dm-0/slaves/*; do echo "slave: ${dir##*/}"; done
sed 's/^/module: /' /proc/modules
`

// afterStream is what streamTell must say.
var afterStream = []string{`then: {"state":"complete"`, "slave: loop", "!slave: nbd", "!block: nbd", "!process: @netstage", "!module: nbd", "stream: the image is whole"}

// ofStream are shell functions: the process of the stream that does what is
// named.
const ofStream = `
part() { for f in /proc/[0-9]*/cmdline; do case "$(tr '\0' ' ' < $f 2>&1)" in "@netstage-stream $1 ") f=${f%/cmdline}; echo ${f#/proc/};; esac; done; }
`

// streamed is an image with a large file of random bytes, which are stored as
// they are, and a server of it in whatever mood.
type streamed struct {
	vouched
	sum   string
	mu    sync.Mutex
	mood  func(w http.ResponseWriter, r *http.Request, next http.Handler)
	rate  int64
	moody string // the mood is about paths with this in them
}

func (s *streamed) set(mood func(http.ResponseWriter, *http.Request, http.Handler)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mood = mood
}

// serve serves the image at a rate, each path as a mirror of its own.
func (s *streamed) serve(t *testing.T, c *vm.Config) {
	files := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := filepath.Base(r.URL.Path)
		if name == "image.squashfs.verity" {
			w.Write(s.tree)
			return
		}
		http.ServeContent(w, r, name, time.Unix(1e9, 0), strings.NewReader(string(s.content)))
	})
	slow := netboot.Throttle(files, s.rate)
	c.Wrap = func(other http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasPrefix(filepath.Base(r.URL.Path), "image.squashfs") {
				other.ServeHTTP(w, r)
				return
			}
			s.mu.Lock()
			mood := s.mood
			s.mu.Unlock()
			if mood != nil && strings.Contains(r.URL.Path, s.moody) {
				mood(w, r, slow)
				return
			}
			slow.ServeHTTP(w, r)
		})
	}
}

func newStreamed(t *testing.T, size int, script string) *streamed {
	blob := make([]byte, size)
	if _, err := rand.Read(blob); err != nil {
		t.Fatal(err)
	}
	toplevel := classic()
	toplevel["blob"] = string(blob)
	toplevel["init"] = system.Script(ofStream + script + system.PowerOff)
	return &streamed{vouched: vouchFor(t, store(t, toplevel)), sum: fmt.Sprintf("%x", sha256.Sum256(blob)), rate: 5 << 20}
}

const readBlob = `
echo "blob: $(sha256sum < ` + system.Toplevel + `/blob)"
`

// Stage 2 starts while the image still comes, and ends with nothing of
// netstage left.
func TestQEMUStream(t *testing.T) {
	for name, test := range map[string]struct {
		kernel, cmdline string
		registry        bool
	}{
		"6.1":                          {plainModules, "", false},
		"6.12, dm-verity, of registry": {xzModules, "rootfs.verity.mount", true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStreamed(t, 30<<20, `
echo "stage 2 began: $(cat /run/netstage/stream.json)"`+readBlob+streamTell+`
echo 3 > /proc/sys/vm/drop_caches`+readBlob+`
echo "all told"`)
			var m running
			if test.registry {
				m = s.fromRegistry(t, test.kernel, test.cmdline)
			} else {
				m = s.start(t, test.kernel, test.cmdline, "a")
			}
			m.end(vm.PowerOff, append(afterStream, "!geheim", `stage 2 began: {"state":"streaming"`, "blob: "+s.sum, "all told")...)
			if n := strings.Count(m.Console(), "blob: "+s.sum); n != 2 {
				t.Errorf("the file was right %d times, want 2", n)
			}
		})
	}
}

// fromRegistry boots from Debian's docker-registry, which wants a login, at the
// rate of the others. The digest of the artifact says what the root hash is.
func (s *streamed) fromRegistry(t *testing.T, kernel, cmdline string) running {
	r := peer.Start(t, peer.Options{Login: "boot:geheim"})
	d := r.Push(t, "web", "1", s.layers()...)
	to, err := url.Parse(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(netboot.Throttle(httputil.NewSingleHostReverseProxy(to), s.rate))
	t.Cleanup(front.Close)
	host := strings.Replace(strings.TrimPrefix(front.URL, "http://"), "127.0.0.1", "10.0.2.2", 1)
	logins := filepath.Join(t.TempDir(), "registry.json")
	writeFile(t, logins, `{"auths": {"http://`+host+`": {"username": "boot", "password": "geheim"}}}`)
	c := guestWith(t, kernel, []string{"virtio_net", "dm_verity", "nbd"}, initrd.File{Source: logins, Target: "/etc/netstage/registry.json"})
	c.Direct, c.Init = true, system.Init
	c.Append = "boot.fail_timeout=1 rootfs.stream rootfs=oci+http://" + host + "/web@" + d.Digest + " " + cmdline
	return start(t, c)
}

// start boots from mirrors, each a folder of the server.
func (s *streamed) start(t *testing.T, kernel, cmdline string, mirrors ...string) running {
	c := guestWith(t, kernel, []string{"virtio_net", "dm_verity", "nbd"})
	c.Direct, c.Init = true, system.Init
	c.Append = "boot.fail_timeout=1 rootfs.stream roothash=" + s.root + " " + cmdline
	for _, m := range mirrors {
		c.Append += " rootfs=" + m + "/image.squashfs"
	}
	s.serve(t, &c)
	return start(t, c)
}

// gone is a server that closes every connection.
func gone(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		conn.Close()
	}
}

// cutting closes each connection after 2 MiB.
func cutting(w http.ResponseWriter, r *http.Request, next http.Handler) {
	next.ServeHTTP(&cut{ResponseWriter: w, left: 2 << 20}, r)
}

type cut struct {
	http.ResponseWriter
	left int
}

func (c *cut) Write(p []byte) (int, error) {
	if c.left -= len(p); c.left < 0 {
		panic(http.ErrAbortHandler)
	}
	return c.ResponseWriter.Write(p)
}

// another is a server with another image of the same length.
func another(w http.ResponseWriter, r *http.Request, next http.Handler) {
	w.Header().Set("ETag", `"another"`)
	next.ServeHTTP(inverted{w}, r)
}

type inverted struct{ http.ResponseWriter }

func (i inverted) Write(p []byte) (int, error) {
	other := make([]byte, len(p))
	for n, b := range p {
		other[n] = ^b
	}
	return i.ResponseWriter.Write(other)
}

// Faults while stage 2 runs on what has come so far: nothing wrong is ever
// read, and whatever can go on goes on.
func TestQEMUStreamFaults(t *testing.T) {
	const kill = `sleep 1; echo "killing"; kill -%s $(part work)
`
	tests := map[string]struct {
		kernel  string
		mirrors []string
		script  string // before the file is read
		mood    func(http.ResponseWriter, *http.Request, http.Handler)
		always  bool // the mood, else for 15 s of stage 2
		want    []string
		end     vm.End
	}{
		"server down":                {kernel: xzModules, mood: gone, want: []string{"stream: a reader has waited 1", "connection"}},
		"connections cut":            {kernel: plainModules, mood: cutting, always: true},
		"image replaced for a while": {kernel: xzModules, mood: another, want: []string{"serves a wrong image: block", "stream: a reader has waited 1"}},
		"one mirror is wrong":        {kernel: xzModules, mirrors: []string{"a", "b"}, mood: another, always: true, want: []string{"/a/image.squashfs serves a wrong image: block"}},
		"worker killed":              {kernel: plainModules, script: fmt.Sprintf(kill, "KILL"), want: []string{"killing", "the process that fetches ended (signal: killed); another one goes on"}},
		"worker has a segment fault": {kernel: xzModules, script: fmt.Sprintf(kill, "SEGV"), want: []string{"killing", "the process that fetches ended", "another one goes on"}},
		"holder killed":              {kernel: xzModules, script: "kill -KILL $(part hold)\n", end: vm.Reset, want: []string{"stream: the root is lost: the process that answers the kernel has ended; rebooting"}},
	}
	for name, test := range tests {
		if !wholeMatrix && name != "worker killed" && name != "one mirror is wrong" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			s := newStreamed(t, 40<<20, "echo \"stage 2 began\"\n"+test.script+readBlob+streamTell+`echo "all told"`)
			if len(test.mirrors) == 0 {
				test.mirrors = []string{"a"}
			}
			s.moody = test.mirrors[0] + "/"
			if test.always && test.mood != nil {
				s.set(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
					if strings.HasSuffix(r.URL.Path, ".verity") {
						next.ServeHTTP(w, r)
						return
					}
					test.mood(w, r, next)
				})
			}
			m := s.start(t, test.kernel, "", test.mirrors...)
			m.expect("stage 2 began")
			if test.mood != nil && !test.always {
				s.set(test.mood)
				time.Sleep(15 * time.Second)
				s.set(nil)
			}
			if test.end == vm.Reset {
				m.end(vm.Reset, append(test.want, "!all told")...)
				return
			}
			m.end(vm.PowerOff, append(append(afterStream, "blob: "+s.sum, "all told"), test.want...)...)
		})
	}
}

// tellStreamed is a unit that tells how far the stream is when multi-user is
// reached, and what is left when it is whole.
const tellStreamed = `[Unit]
Description=Tell how the boot went
[Service]
ExecStart=/bin/sh /etc/tell
StandardOutput=tty
TTYPath=/dev/ttyS0
[Install]
WantedBy=multi-user.target
`

// debianStreamed is the Debian with a large file, packed with its tree.
func debianStreamed(t testing.TB, script string) (path, sum string) {
	t.Helper()
	root := setupDir(t, "debian")
	dir := t.TempDir()
	if err := system.WriteDebian(root, dir); err != nil {
		t.Fatal(err)
	}
	blob := make([]byte, 200<<20)
	if _, err := rand.Read(blob); err != nil {
		t.Fatal(err)
	}
	tree := one(t, dir+"/*-debian")
	for name, text := range map[string]string{"etc/systemd/system/tell.service": tellStreamed, "etc/tell": script, "blob": string(blob)} {
		os.Remove(filepath.Join(tree, name))
		if err := os.WriteFile(filepath.Join(tree, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	report, err := image.Build(context.Background(), image.Options{
		Source: dir, Output: filepath.Join(t.TempDir(), "image.squashfs"), Compression: image.Compression{Algorithm: "zstd", Level: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	return report.Path, fmt.Sprintf("%x", sha256.Sum256(blob))
}

// A real systemd is up long before its image has come, at 5 MB/s.
func TestQEMUStreamSystemd(t *testing.T) {
	path, sum := debianStreamed(t, ofStream+`
systemctl is-system-running --wait
echo "multi-user after $(cut -d' ' -f1 /proc/uptime) s, stream: $(cat /run/netstage/stream.json)"
systemctl list-units --failed --plain --no-legend | sed "s/^/failed: /"
`+streamTell+`
echo "whole after $(cut -d' ' -f1 /proc/uptime) s"
echo "blob: $(cat /nix/store/*-debian/blob | sha256sum)"
systemctl poweroff`)
	for name, test := range map[string]struct{ kernel, init string }{
		"6.1, classic":       {plainModules, system.DebianClassic},
		"6.12, prepare-root": {xzModules, system.DebianPrepareRoot},
	} {
		if !wholeMatrix && test.kernel != xzModules {
			continue
		}
		t.Run(name, func(t *testing.T) {
			c := guestWith(t, test.kernel, []string{"virtio_net", "dm_verity", "nbd"})
			c.Direct, c.Init, c.Image, c.Append = true, test.init, path, "rootfs.stream"
			c.Wrap = func(h http.Handler) http.Handler { return netboot.Throttle(h, 5_000_000) }
			m := start(t, c)
			m.end(vm.PowerOff, append(afterStream, "!failed: ", `s, stream: {"state":"streaming"`, "blob: "+sum)...)
			up, whole := secondsAfter(m.Console(), "multi-user after "), secondsAfter(m.Console(), "whole after ")
			t.Logf("multi-user after %.1f s, whole after %.1f s", up, whole)
			if up == 0 || up > 0.8*whole {
				t.Errorf("multi-user after %.1f s, whole after %.1f s", up, whole)
			}
		})
	}
}

func secondsAfter(console, words string) float64 {
	_, rest, _ := strings.Cut(console, words)
	number, _, _ := strings.Cut(rest, " ")
	n, _ := strconv.ParseFloat(number, 64)
	return n
}

// Half-way through the stream the machine reboots when it is told to, also
// while the server is away.
func TestQEMUStreamReboot(t *testing.T) {
	path, _ := debianStreamed(t, `
echo "multi-user: rebooting"
sleep 1
systemctl reboot`)
	c := guestWith(t, xzModules, []string{"virtio_net", "dm_verity", "nbd"})
	c.Direct, c.Init, c.Image, c.Append = true, system.DebianClassic, path, "rootfs.stream"
	c.Wrap = func(h http.Handler) http.Handler { return netboot.Throttle(h, 5_000_000) }
	m := start(t, c)
	m.expect("multi-user: rebooting")
	told := time.Now()
	m.end(vm.Reset, "!stream: the image is whole")
	t.Logf("reboot took %.1f s", time.Since(told).Seconds())
}
