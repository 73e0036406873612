package qemutests

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"netstage/qemu-tests/nsmachine"
)

// soakCount is how many machines the soak boots where nobody says otherwise:
// the same ones each time, however busy the host is.
const soakCount = 80

// soakBound is within what time a machine has to have ended where nothing is
// still for good.
const soakBound = 2 * time.Minute

// A soak is which machines to boot: the count from the first on, or as many as
// fit into the time. Machine N of a seed is always given the same faults.
type soak struct {
	seed, first uint64
	count       int           // 0: by time
	time        time.Duration // 0: by count
	machines    int           // at a time
}

// soakOf reads SOAK, a number of machines or a duration, and the other words
// that make soak passes on.
func soakOf(env func(string) string) (soak, error) {
	s := soak{seed: 1, count: soakCount, machines: 4 * runtime.NumCPU()}
	if text := env("SOAK"); text != "" {
		count, notCount := strconv.Atoi(text)
		d, notTime := time.ParseDuration(text)
		switch {
		case notCount == nil && count > 0:
			s.count, s.time = count, 0
		case notTime == nil && d > 0:
			s.count, s.time = 0, d
		default:
			return s, fmt.Errorf("SOAK=%s is neither a number of machines nor a duration such as 10m", text)
		}
	}
	for name, to := range map[string]*uint64{"SOAK_SEED": &s.seed, "SOAK_FIRST": &s.first} {
		if text := env(name); text != "" {
			var err error
			if *to, err = strconv.ParseUint(text, 10, 64); err != nil {
				return s, fmt.Errorf("%s=%s is no number", name, text)
			}
		}
	}
	if text := env("SOAK_MACHINES"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return s, fmt.Errorf("SOAK_MACHINES=%s is no number of machines", text)
		}
		s.machines = n
	}
	return s, nil
}

// Machines boot in a loop, each with faults drawn at random. Whatever happens
// to it, a machine ends within a bound: handed over with the image that it was
// told to boot and no other, or rebooted after a screen that names a class. No
// shell is opened, and nothing is left on the host.
func TestSoak(t *testing.T) {
	if os.Getenv("SOAK") == "" {
		t.Parallel()
		soakApart(t)
		return
	}
	s, err := soakOf(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	before := leftovers(t)
	var tally soakTally
	next, begun := s.first, time.Now()
	var mu sync.Mutex
	more := func() (uint64, bool) {
		mu.Lock()
		defer mu.Unlock()
		if s.count > 0 && next-s.first >= uint64(s.count) || s.time > 0 && time.Since(begun) > s.time {
			return 0, false
		}
		next++
		return next - 1, true
	}
	var workers sync.WaitGroup
	for range s.machines {
		workers.Go(func() {
			for n, ok := more(); ok; n, ok = more() {
				t.Run(fmt.Sprint(n), func(t *testing.T) { soakOne(t, s.seed, n, &tally) })
			}
		})
	}
	workers.Wait()
	fmt.Print(tally.report(s, time.Since(begun)))
	expectNoLeftovers(t, before)
}

// soakApart soaks in a process of its own, beside other tests: what they have is
// not what it leaves.
func soakApart(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestSoak$", "-test.v", "-test.timeout=60m")
	cmd.Env = append(os.Environ(), fmt.Sprint("SOAK=", soakCount), "TMPDIR="+hostTemp)
	// The death signal is sent when the thread that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "soak: ") {
			fmt.Print(line)
		}
	}
	switch {
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	case bytes.Contains(out, []byte("--- SKIP: ")):
		t.Skipf("%s", out)
	}
}

// soakOne boots machine n of a seed.
func soakOne(t *testing.T, seed, n uint64, tally *soakTally) {
	d := &draw{Rand: rand.New(rand.NewPCG(seed, n))}
	boot := d.boot(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("command line: %s\nfaults:\n%s\nagain: make soak SOAK=1 SEED=%d FIRST=%d", boot.cmdline, boot, seed, n)
		}
	})
	begun := time.Now()
	p := boot.start(t)
	for _, f := range boot.faults {
		if !f.at.come(p.machine) {
			break
		}
		if err := f.does(p); err != nil && !p.ended(2*time.Second) {
			t.Errorf("%s: %v", f.name, err)
		}
	}
	end := p.machine.EndWithin(boot.bound - time.Since(begun))
	class := boot.judge(t, p, end)
	tally.add(boot, end, class)
}

// ended tells whether the machine ends within d.
func (p *played) ended(d time.Duration) bool {
	select {
	case <-p.machine.Ended():
		return true
	case <-time.After(d):
		return false
	}
}

// soakTally are the figures of a soak.
type soakTally struct {
	mu             sync.Mutex
	boots, injured int
	ends, faults   map[string]int
}

func (s *soakTally) add(b soakBoot, end nsmachine.End, class string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ends == nil {
		s.ends, s.faults = map[string]int{}, map[string]int{}
	}
	s.boots++
	s.ends[strings.TrimSpace(string(end)+" "+class)]++
	for _, name := range b.names() {
		s.injured++
		s.faults[name]++
	}
}

func (s *soakTally) report(of soak, took time.Duration) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "soak: %d machines booted in %s, %d faults injected, seed %d from %d on\n", s.boots, took.Round(time.Second), s.injured, of.seed, of.first)
	for _, table := range []struct {
		title string
		of    map[string]int
	}{{"ends", s.ends}, {"faults", s.faults}} {
		fmt.Fprintf(&b, "soak: %s:", table.title)
		names := slices.SortedFunc(maps.Keys(table.of), func(x, y string) int { return cmp.Or(table.of[y]-table.of[x], strings.Compare(x, y)) })
		for i, name := range names {
			if i > 0 {
				b.WriteString(",")
			}
			fmt.Fprintf(&b, " %d %s", table.of[name], name)
		}
		b.WriteString("\n")
	}
	return b.String()
}
