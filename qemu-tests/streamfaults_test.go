package qemutests

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"netstage/cmd/netstage/vm"
	"netstage/qemu-tests/system"
)

// gone is a server that closes every connection.
func gone(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		conn.Close()
	}
}

// resetting is a server that resets each connection after 2 MiB.
func resetting() mood {
	const most = 2 << 20
	var mu sync.Mutex
	sent := map[string]int64{} // by connection
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&metered{w, func(n int) bool {
			mu.Lock()
			defer mu.Unlock()
			sent[r.RemoteAddr] += int64(n)
			return sent[r.RemoteAddr] <= most
		}}, r)
	}
}

type metered struct {
	http.ResponseWriter
	more func(n int) bool
}

func (c *metered) Write(p []byte) (int, error) {
	if c.more(len(p)) {
		return c.ResponseWriter.Write(p)
	}
	conn, _, err := http.NewResponseController(c.ResponseWriter).Hijack()
	if err == nil {
		conn.(*net.TCPConn).SetLinger(0) // a reset
		conn.Close()
	}
	panic(http.ErrAbortHandler)
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

// oneByte is a server whose image differs in one byte of each piece.
func oneByte(w http.ResponseWriter, r *http.Request, next http.Handler) {
	next.ServeHTTP(flipped{w}, r)
}

type flipped struct{ http.ResponseWriter }

func (f flipped) Write(p []byte) (int, error) {
	other := append([]byte(nil), p...)
	other[len(other)/2] ^= 1
	return f.ResponseWriter.Write(other)
}

// streamFault is what goes wrong while stage 2 reads a file that has not come.
type streamFault struct {
	name   string
	sample bool          // it is tried in make test, too
	about  string        // the mood is about paths with this in them
	mood   mood          // of the server
	link   bool          // the cable is out
	last   time.Duration // of the fault; 0: until the file was read
	script string        // of stage 2, before it reads
	want   []string
}

// waits is what the kernel log says of a reader that waits for 10 and for 20 s.
var waits = []string{"stream: a reader has waited 1", "stream: a reader has waited 2"}

const flush = `
ip link set eth0 down
ip addr flush dev eth0
sleep 3
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2
echo "the NIC is configured anew"
`

func streamFaults() []streamFault {
	return []streamFault{
		{name: "z01-wrong-byte", sample: true, about: "a/", mood: oneByte, want: []string{"/a/image.squashfs serves a wrong image: block"}},
		{name: "z02-killed", sample: true, script: "kill -KILL $(part work)\n", want: []string{"] stage-1-init: stream: the process that fetches ended (signal: killed); another one goes on"}},
		{name: "z03-server-down", mood: gone, last: 32 * time.Second, want: waits},
		{name: "z04-replaced", sample: true, mood: another, last: 24 * time.Second, want: append(waits, "/b/image.squashfs serves a wrong image: block")},
		{name: "z05-reset", mood: resetting()},
		{name: "z06-segv", script: "kill -SEGV $(part work)\n", want: []string{"another one goes on"}},
		{name: "z07-link-down", link: true, last: 10 * time.Second},
		{name: "z08-flushed", sample: true, script: flush, want: []string{"the NIC is configured anew"}},
		{name: "z09-out-of-memory", sample: true, script: "tail /dev/zero\necho \"hog: $?\"\n", want: []string{"hog: 137", "Out of memory: Killed process", "!Killed process 1 ", "!(exe)"}},
		// Longer than a minute after the worker before it died.
		{name: "z10-stopped", script: "sleep 45; kill -STOP $(part work)\n", want: []string{"has given no sign of life for 60 s and is ended"}},
	}
}

// Faults while stage 2 runs on what has come so far, one after the other:
// nothing wrong is ever read, and whatever can go on goes on.
func TestQEMUStreamFaults(t *testing.T) {
	t.Parallel()
	const size, front = 6 << 20, 80 << 20 // of each file, and of what comes before them all
	for name, test := range map[string]struct {
		kernel, cmdline, rest string
		sample                bool
	}{
		"6.1":            {kernel: plainModules, sample: true},
		"6.12":           {kernel: xzModules, cmdline: "rootfs.verity.mount"},
		"6.12 on demand": {kernel: xzModules, cmdline: "rootfs.stream=demand", rest: "cat /dev/dm-0 > /dev/null\n"},
	} {
		if !wholeMatrix && !test.sample {
			continue
		}
		t.Run(name, func(t *testing.T) {
			var faults []streamFault
			sizes, script := map[string]int{"a-front": front}, "echo \"stage 2 began\"\n"
			for _, f := range streamFaults() {
				if !wholeMatrix && !f.sample {
					continue
				}
				faults = append(faults, f)
				sizes[f.name] = size
				script += fmt.Sprintf("echo \"fault: %s\"; read go\n", f.name) + f.script + reading(f.name)
			}
			s := newStreamed(t, sizes, script+"echo \"faults are over\"; read go\n"+test.rest+streamTell+"echo 3 > /proc/sys/vm/drop_caches\n"+
				"cd "+system.Toplevel+"; for f in *; do echo \"again $f: $(sha256sum < $f)\"; done\necho \"all told\"")
			s.rate = 2_000_000
			m := s.start(t, test.kernel, test.cmdline, "a", "b")
			m.expect("stage 2 began")
			s.hold(front)
			for _, f := range faults {
				m.expect("fault: " + f.name)
				begun := time.Now()
				s.set(f.about, f.mood)
				m.link(!f.link)
				m.send("\n")
				if f.last > 0 {
					time.Sleep(f.last)
					s.set("", nil)
					m.link(true)
				}
				m.expect(f.name + ": " + s.sums[f.name])
				s.set("", nil)
				t.Logf("%s took %.1f s", f.name, time.Since(begun).Seconds())
			}
			s.hold(0)
			m.expect("faults are over")
			m.send("\n")
			want := append([]string{"all told"}, afterStream...)
			for _, f := range faults {
				want = append(want, f.want...)
			}
			for name, sum := range s.sums {
				want = append(want, "again "+name+": "+sum)
			}
			m.end(vm.PowerOff, want...)
			if wholeMatrix {
				t.Log(ofTheStream(m.Console()))
			}
		})
	}
	if wholeMatrix {
		testLost(t)
	}
}

// ofTheStream are the lines of a console about it, and about the faults.
func ofTheStream(console string) string {
	var lines strings.Builder
	for line := range strings.Lines(console) {
		if strings.Contains(line, "stream: ") || strings.Contains(line, "fault: ") || strings.Contains(line, "Killed process") {
			lines.WriteString(line)
		}
	}
	return lines.String()
}

// link plugs the cable in, or pulls it.
func (r running) link(up bool) {
	r.t.Helper()
	if err := r.SetLink(r.ctx, 0, up); err != nil {
		r.t.Fatal(err)
	}
}

// What can't go on ends in a reboot, and not in a machine that is half dead.
// With a timeout readers see an error while the server is away, and read what
// they want when it is back.
func testLost(t *testing.T) {
	for name, test := range map[string]struct{ kernel, script, want string }{
		"holder killed":       {xzModules, "kill -KILL $(part hold)\n", "the process that answers the kernel has ended; rebooting"},
		"worker killed twice": {plainModules, "kill -KILL $(part work); sleep 5; kill -KILL $(part work)\n", "the process that fetches ended twice within a minute (signal: killed); rebooting"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStreamed(t, map[string]int{"a-front": 8 << 20, "blob": 4 << 20}, "echo \"stage 2 began\"; read go\n"+reading("blob")+
				"echo \"it failed\"; read go\n"+reading("blob")+test.script+"sleep 60; echo \"all told\"")
			m := s.start(t, test.kernel, "rootfs.stream=demand rootfs.stream.timeout=5", "a")
			m.expect("stage 2 began")
			s.set("", gone)
			m.send("\n")
			m.expect("it failed")
			s.set("", nil)
			if strings.Contains(m.Console(), s.sums["blob"]) {
				t.Error("the file was read without a server")
			}
			m.send("\n")
			m.end(vm.Reset, "I/O error", "blob: "+s.sums["blob"], "stream: the root is lost: "+test.want, "!all told")
		})
	}
}
