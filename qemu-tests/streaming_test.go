package qemutests

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"netstage/cmd/netstage/initrd"
	"netstage/cmd/netstage/netboot"
	"netstage/cmd/netstage/vm"
	"netstage/fetch/oci/peer"
	"netstage/qemu-tests/system"
	"netstage/stage1/report"
)

// wholeMatrix is for "make stream": all faults, and all systems. Else a sample
// of them is enough.
var wholeMatrix = os.Getenv("NETSTAGE_STREAM") == "all"

// streamTell tells what is left when the image is whole, and the report is
// sent. It needs ofStream.
const streamTell = `
while ! grep -q '"complete"' /run/netstage/stream.json; do sleep 1; done
for n in 1 2 3 4 5 6 7 8 9 10; do
	[ -z "$(part hold)$(part work)$(part read)" ] && break
	sleep 3
done
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
part() {
	for f in $(grep -lxz "$1" /dev/null $(grep -lxz @netstage-stream /proc/[0-9]*/cmdline 2>&1) 2>&1); do
		case $f in /proc/*/cmdline) f=${f%/cmdline}; echo ${f#/proc/};; esac
	done
}
`

// streamed is an image with a large file of random bytes, which are stored as
// they are, and a server of it in whatever mood.
type streamed struct {
	vouched
	sums map[string]string // of files, by their names in the toplevel
	rate int64

	mu    sync.Mutex
	mood  mood
	about string // the mood is about paths with this in them
	held  int64  // bytes before this come as if they never would
	fast  bool   // the others come as fast as they can
}

// mood is how a server serves.
type mood func(w http.ResponseWriter, r *http.Request, next http.Handler)

// set has the paths with a text in them served in a mood; nil: as usual.
func (s *streamed) set(about string, m mood) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mood, s.about = m, about
}

// hold holds the image's first bytes back, and has the others come as fast as
// they can.
func (s *streamed) hold(bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held, s.fast = bytes, true
}

// serve serves the image at a rate, each path as a mirror of its own.
func (s *streamed) serve(t *testing.T, c *vm.Config) {
	files := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := filepath.Base(r.URL.Path)
		switch name {
		case "image.squashfs":
			http.ServeContent(w, r, name, time.Unix(1e9, 0), bytes.NewReader(s.content))
		case "image.squashfs.verity":
			w.Write(s.tree)
		default:
			http.NotFound(w, r)
		}
	})
	const crawl = 100_000
	usual, slow := netboot.Throttle(files, s.rate), netboot.Throttle(files, crawl)
	c.Wrap = func(other http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasPrefix(filepath.Base(r.URL.Path), "image.squashfs") {
				other.ServeHTTP(w, r)
				return
			}
			s.mu.Lock()
			mood, about, held, fast := s.mood, s.about, s.held, s.fast
			s.mu.Unlock()
			next, first := usual, int64(0)
			if fast {
				next = files
			}
			if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &first); err == nil && first < held {
				next = slow
			}
			if mood != nil && strings.Contains(r.URL.Path, about) {
				mood(w, r, next)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// newStreamed packs files of random bytes, by their sizes, and a stage 2.
func newStreamed(t *testing.T, sizes map[string]int, script string) *streamed {
	t.Helper()
	s := &streamed{sums: map[string]string{}, rate: 5 << 20}
	toplevel := classic()
	for name, size := range sizes {
		blob := make([]byte, size)
		if _, err := rand.Read(blob); err != nil {
			t.Fatal(err)
		}
		toplevel[name], s.sums[name] = string(blob), fmt.Sprintf("%x", sha256.Sum256(blob))
	}
	toplevel["init"] = system.Script(ofStream + script + system.PowerOff)
	s.vouched = vouchFor(t, store(t, toplevel))
	return s
}

// reading has a file's digest told.
func reading(name string) string {
	return fmt.Sprintf("\necho \"%s: $(sha256sum < %s/%s)\"\n", name, system.Toplevel, name)
}

// Stage 2 starts while the image still comes, and ends with nothing of
// netstage left. An operator may look on before.
func TestQEMUStream(t *testing.T) {
	t.Parallel()
	const size = 30 << 20
	for name, test := range map[string]struct {
		kernel, cmdline string
		registry        bool
	}{
		"6.1, of a registry": {plainModules, "", true},
		"6.12, dm-verity":    {xzModules, "rootfs.verity.mount boot.debug1mounts", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStreamed(t, map[string]int{"blob": size}, `
echo "stage 2 began: $(cat /run/netstage/stream.json)"
date -s @4000000000; echo "clock: $(date +%Y)"`+reading("blob")+streamTell+`
echo 3 > /proc/sys/vm/drop_caches`+reading("blob")+`
echo "all told"`)
			url, states := takeReports(t)
			var m running
			if test.registry {
				m = s.fromRegistry(t, test.kernel, test.cmdline+" boot.report="+url)
			} else {
				m = s.start(t, test.kernel, test.cmdline+" boot.report="+url, "a")
			}
			if strings.Contains(test.cmdline, "boot.debug1mounts") {
				m.expect("leaves it")
				s.hold(size)
				m.send("boot fetch\r")
				m.expect(" MiB are there, ")
				m.expect(" reads waited, the longest ")
				m.send("exit\r")
				m.expect("stage 2 began: ")
				s.hold(0)
			}
			m.end(vm.PowerOff, append(afterStream, "!geheim", `stage 2 began: {"state":"streaming"`, "clock: 2096", "blob: "+s.sums["blob"], "all told")...)
			if n := strings.Count(m.Console(), "blob: "+s.sums["blob"]); n != 2 {
				t.Errorf("the file was right %d times, want 2", n)
			}
			// Stage 2 has set the clock.
			if _, then, _ := strings.Cut(m.Console(), "then: {"); numberAfter(then, `"seconds":`) > 10_000 {
				t.Errorf("the stream took too long: %.200s", then)
			}
			want := []string{"good", "complete with first reads"}
			if strings.Contains(m.Console(), "report: not sent") { // a boot waits a second for the answer, the stream longer
				want = want[1:]
			}
			if got := states(); !slices.Equal(got, want) {
				t.Errorf("reports: %q, want %q", got, want)
			}
		})
	}
	if wholeMatrix {
		t.Run("boot.check waits for the whole", func(t *testing.T) {
			s := newStreamed(t, map[string]int{"blob": size}, `echo "stage 2 began"`)
			m := s.start(t, plainModules, "boot.check", "a")
			m.end(vm.PowerOff, "stream: the image is whole", "boot.check: stage 2 would be started", "!stage 2 began")
		})
		t.Run("on demand, bounded", testKeep)
		t.Run("memory", testStreamMemory)
		t.Run("the stream ends before stage 2", func(t *testing.T) {
			s := newStreamed(t, map[string]int{"blob": size}, `echo "stage 2 began"`)
			m := s.start(t, xzModules, "rootfs.stream=demand boot.debug1mounts", "a")
			m.expect("leaves it")
			m.send("for d in /proc/[0-9]*; do grep -q netstage-stream $d/cmdline && kill -9 ${d#/proc/}; done\r")
			m.send("exit 0\r")
			m.end(vm.Reset, "boot failed: stream", "hand it over to stage 2", "!stage 2 began")
		})
	}
}

// takeReports is a server for the reports of a machine in QEMU's network, and
// what came so far.
func takeReports(t *testing.T) (url string, states func() []string) {
	t.Helper()
	var mu sync.Mutex
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil { // a boot does not wait for it, and says so
			return
		}
		told, err := report.Parse(text)
		if err != nil {
			t.Errorf("report %.300s: %v", text, err)
			return
		}
		state := string(told.State)
		if told.Stream != nil && len(told.Stream.FirstReads) > 0 {
			state += " with first reads"
		}
		mu.Lock()
		defer mu.Unlock()
		got = append(got, state)
	}))
	t.Cleanup(server.Close)
	_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
	return "http://10.0.2.2:" + port + "/", func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(got)
	}
}

// On demand with a bound what was read longest ago goes, and comes again.
func testKeep(t *testing.T) {
	const most = 16 << 20
	s := newStreamed(t, map[string]int{"blob": 30 << 20}, reading("blob")+"echo 3 > /proc/sys/vm/drop_caches"+reading("blob")+
		"sleep 3; echo \"kept: $(cat /run/netstage/stream.json)\"\nsed 's/^/memory: /' /proc/meminfo\necho \"all told\"")
	m := s.start(t, plainModules, "rootfs.stream=demand rootfs.stream.keep=16M", "a")
	m.end(vm.PowerOff, "all told", `kept: {"state":"demand"`)
	if n := strings.Count(m.Console(), "blob: "+s.sums["blob"]); n != 2 {
		t.Errorf("the file was right %d times, want 2", n)
	}
	kept, shared := numberAfter(m.Console(), `"demand","bytes":`), numberAfter(m.Console(), "memory: Shmem:")<<10
	t.Logf("%d bytes are kept, %d bytes of memory are shared or in tmpfs", kept, shared)
	// The agent's program is in memory, too.
	if kept == 0 || kept > most || shared > most+(16<<20) {
		t.Errorf("%d bytes are kept, %d bytes of memory are shared or in tmpfs", kept, shared)
	}
}

// testStreamMemory holds what a stream leaves against a boot without one.
func testStreamMemory(t *testing.T) {
	const most = 24 << 20
	s := newStreamed(t, map[string]int{"blob": 60 << 20}, reading("blob")+"if [ -e /run/netstage/stream.json ]; then"+streamTell+"fi\n"+
		"echo 3 > /proc/sys/vm/drop_caches\nsed 's/^/memory: /' /proc/meminfo\necho \"all told\"")
	used := map[string]int64{}
	for _, stream := range []string{"", "rootfs.stream"} {
		m := s.boot(t, plainModules, stream, "a")
		m.end(vm.PowerOff, "all told", "blob: "+s.sums["blob"])
		used[stream] = (numberAfter(m.Console(), "memory: MemTotal:") - numberAfter(m.Console(), "memory: MemFree:")) << 10
	}
	t.Logf("%d MiB are used, %d after a stream", used[""]>>20, used["rootfs.stream"]>>20)
	if used["rootfs.stream"] > used[""]+most {
		t.Errorf("%d MiB are used, %d after a stream", used[""]>>20, used["rootfs.stream"]>>20)
	}
}

// numberAfter is the first number behind words on a console.
func numberAfter(console, words string) (n int64) {
	_, rest, _ := strings.Cut(console, words)
	fmt.Sscan(strings.ReplaceAll(rest[:min(len(rest), 40)], ",", " "), &n)
	return n
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

// start has the image streamed from mirrors, each a folder of the server.
func (s *streamed) start(t *testing.T, kernel, cmdline string, mirrors ...string) running {
	if !strings.Contains(cmdline, "rootfs.stream") {
		cmdline += " rootfs.stream"
	}
	return s.boot(t, kernel, cmdline, mirrors...)
}

// boot is start, without a stream where the command line has none.
func (s *streamed) boot(t *testing.T, kernel, cmdline string, mirrors ...string) running {
	c := guestWith(t, kernel, []string{"virtio_net", "dm_verity", "nbd"})
	c.Direct, c.Init = true, system.Init
	c.Append = "boot.fail_timeout=1 roothash=" + s.root + " " + cmdline
	for _, m := range mirrors {
		c.Append += " rootfs=" + m + "/image.squashfs"
	}
	s.serve(t, &c)
	return start(t, c)
}
