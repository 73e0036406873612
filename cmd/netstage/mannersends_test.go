package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// badEnds are how a command may be ended, at any time.
func badEnds(m manner, good *trial) (all []happening) {
	for name, signals := range map[string][]syscall.Signal{
		"SIGINT": {syscall.SIGINT}, "SIGINT twice": {syscall.SIGINT, syscall.SIGINT}, "SIGTERM": {syscall.SIGTERM}, "SIGHUP": {syscall.SIGHUP},
		"SIGINT and SIGTERM": {syscall.SIGINT, syscall.SIGTERM},
	} {
		all = append(all, happening{name, func(t *testing.T, r *trial) {
			r.signals, r.after = signals, rand.N(good.took+good.took/4+time.Millisecond)
			r.run(t)
			switch {
			case r.status == 0:
				r.whole(t)
			case !r.status.Signaled() || r.status.Signal() != signals[0] && r.status.Signal() != signals[len(signals)-1]:
				t.Errorf("after %v: %v, %s", r.after, r.status, r.said)
			case r.hidden():
				t.Errorf("after %v it left %q", r.after, r.left)
			case !r.all() && m.args[0] != "pull" && m.args[0] != "keep":
				r.nothing(t)
			}
		}})
	}
	all = append(all, happening{"closed standard output", func(t *testing.T, r *trial) {
		r.outlet = closedPipe(t)
		r.run(t)
		if good.stdout != "" && r.status.ExitStatus() != exitSignal+int(syscall.SIGPIPE) || good.stdout == "" && r.status != 0 {
			t.Errorf("%v: %s", r.status, r.said)
		}
		if !r.all() {
			r.nothing(t)
		}
	}}, happening{"closed standard error", func(t *testing.T, r *trial) {
		r.errlet = closedPipe(t)
		r.run(t)
		switch {
		case r.status == 0:
			r.whole(t)
		case good.said == "" || r.status.ExitStatus() != exitSignal+int(syscall.SIGPIPE):
			t.Errorf("%v", r.status)
		case r.hidden():
			t.Errorf("it left %q", r.left)
		}
	}}, happening{"full standard output", func(t *testing.T, r *trial) {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		mustDo(t, err)
		defer full.Close()
		r.outlet = full
		r.run(t)
		if good.stdout == "" {
			r.whole(t)
		} else {
			r.complains(t, "o space left on device")
		}
	}})
	return all
}

func closedPipe(t *testing.T) *os.File {
	r, w, err := os.Pipe()
	mustDo(t, err, r.Close())
	t.Cleanup(func() { w.Close() })
	return w
}

// badHosts are what a host may lack.
func badHosts(m manner, good *trial) (all []happening) {
	for name, env := range map[string]string{"no HOME": "HOME=", "no TMPDIR": "TMPDIR=/nowhere", "no programs": "PATH=/nowhere"} {
		all = append(all, happening{name, func(t *testing.T, r *trial) {
			r.env = []string{env}
			r.run(t)
			if r.status == 0 {
				r.whole(t)
			} else {
				r.fails(t, map[string]string{"no TMPDIR": "/nowhere", "no programs": "install"}[name])
			}
		}})
	}
	all = append(all, happening{"full TMPDIR", func(t *testing.T, r *trial) {
		r.before = `mount -t tmpfs -o size=64k tmpfs "$TMPDIR" && { head -c 64k /dev/zero >"$TMPDIR/.fill" 2>/dev/null; true; }`
		r.run(t)
		if r.status == 0 {
			r.whole(t)
		} else {
			r.fails(t, "o space left on device (TMPDIR")
		}
	}})
	all = append(all, happening{"nobody", func(t *testing.T, r *trial) {
		r.nobody = true
		mustDo(t, os.Chmod(filepath.Join(r.in, "ops.key"), 0o644))
		r.run(t)
		r.whole(t)
	}})
	return all
}
