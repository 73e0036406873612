// Package kmod loads kernel modules: it finds those that drive what /sys shows
// and gives them to the kernel, dependencies first and in parallel. Which
// module is for what, package modindex says.
package kmod

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"netstage/stage1/modindex"
	"netstage/stage1/uevent"
)

// Loader puts modules into the kernel, each once, in parallel as far as their
// dependencies allow. It may be used from several goroutines.
type Loader struct {
	ix      *modindex.Index
	log     *slog.Logger
	in      inserter
	plain   []string // modules whose install commands are passed over
	graph   graph
	workers chan struct{}
	running sync.WaitGroup

	startMu  sync.Mutex
	starting map[string]bool // modules that the kernel has been given and starts

	seenMu sync.Mutex
	seen   map[string]bool // modaliases that need nothing more
	warned map[string]bool // of devices' drivers

	listenMu sync.Mutex
	socket   *uevent.Socket // opened by Listen, not yet taken by Hotplug
	plugging int            // Hotplugs that run
	sysfs    string
}

// slowStart is how long a driver may take before the console says so, and the
// others no longer wait for it to make room.
const slowStart = 5 * time.Second

// errAbandoned ends a module whose Load was cancelled before its turn came.
var errAbandoned = errors.New("abandoned")

// NewLoader returns a loader over an index (and the configuration the index
// uses).
func NewLoader(ix *modindex.Index, log *slog.Logger) *Loader {
	// A driver's start is more waiting for hardware than computing.
	workers := min(max(4, 2*runtime.NumCPU()), 16)
	return &Loader{
		ix:       ix,
		log:      log.With("what", "modules"),
		in:       inserter{sysfs: "/sys", finit: unix.FinitModule},
		graph:    graph{nodes: map[string]*node{}},
		workers:  make(chan struct{}, workers),
		starting: map[string]bool{},
		seen:     map[string]bool{},
		warned:   map[string]bool{},
		sysfs:    "/sys",
	}
}

// Load loads what the names and modaliases stand for, with what they need.
// What is loaded, built in or masked already is a success. The error joins a
// modindex.ErrNotFound for each unknown name and a *LoadError for each module
// that failed. A failure is not remembered: the next call tries again.
func (l *Loader) Load(ctx context.Context, names ...string) error {
	var modules []modindex.Target
	var errs []error
	for _, name := range names {
		found, err := l.ix.Find(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		modules = append(modules, found...)
	}
	_, failed := l.loadModules(ctx, modules)
	return errors.Join(append(errs, failed...)...)
}

// loadModules loads modules and waits for them. It returns which of them are
// new in the kernel.
func (l *Loader) loadModules(ctx context.Context, modules []modindex.Target) (loaded []string, errs []error) {
	for {
		loaded, errs = l.try(ctx, modules)
		again := false
		for _, err := range errs {
			// Another caller's cancellation is not ours.
			again = again || errors.Is(err, errAbandoned)
		}
		if !again || ctx.Err() != nil {
			return loaded, errs
		}
	}
}

func (l *Loader) try(ctx context.Context, modules []modindex.Target) (loaded []string, errs []error) {
	wanted := make(map[string]bool, len(modules))
	for _, m := range modules {
		wanted[m.Name] = true
	}
	all, fresh := l.graph.plan(l.ix, modules)
	for _, n := range fresh {
		l.running.Go(func() { l.run(ctx, n) })
	}
	for _, n := range all {
		if err := l.await(ctx, n); err != nil {
			errs = append(errs, err)
			continue
		}
		switch {
		case n.err == nil:
		case wanted[n.name]:
			errs = append(errs, n.err)
		default:
			l.log.Debug("passed over", "err", n.err)
		}
	}
	for _, n := range fresh {
		if n.finished() && n.isNew {
			loaded = append(loaded, n.name)
		}
	}
	return loaded, errs
}

// await waits for a node, no longer than the context lasts: the kernel cannot
// be told to stop starting a driver.
func (l *Loader) await(ctx context.Context, n *node) error {
	select {
	case <-n.done:
		return nil
	case <-ctx.Done():
	}
	if n.finished() {
		return nil
	}
	return &LoadError{Module: n.name, Path: n.path, Op: "wait", Err: ctx.Err()}
}

// run takes one node to its end.
func (l *Loader) run(ctx context.Context, n *node) {
	defer close(n.done)
	for _, d := range n.soft {
		select {
		case <-d.done:
		case <-ctx.Done():
		}
	}
	for _, d := range n.hard {
		select {
		case <-d.done:
			if d.err != nil && n.err == nil {
				n.err = &LoadError{Module: n.name, Path: n.path, Op: "load " + d.name, Err: d.err}
			}
		case <-ctx.Done():
		}
	}
	if n.err == nil {
		tried := false
		select {
		case l.workers <- struct{}{}:
			leave := sync.OnceFunc(func() { <-l.workers })
			slow := time.AfterFunc(slowStart, leave)
			if tried = ctx.Err() == nil; tried {
				n.isNew, n.err = l.insert(ctx, n)
			}
			slow.Stop()
			leave()
		case <-ctx.Done():
		}
		if !tried {
			n.err = &LoadError{Module: n.name, Path: n.path, Op: "wait", Err: fmt.Errorf("%w: %w", errAbandoned, ctx.Err())}
		}
	}
	if n.err != nil {
		l.graph.forget(n)
	}
}

// Starting are the modules that the kernel has been given and that have not
// started yet.
func (l *Loader) Starting() []string {
	l.startMu.Lock()
	defer l.startMu.Unlock()
	return slices.Sorted(maps.Keys(l.starting))
}

func (l *Loader) begin(name string, begins bool) {
	l.startMu.Lock()
	defer l.startMu.Unlock()
	if begins {
		l.starting[name] = true
	} else {
		delete(l.starting, name)
	}
}

// insert gives a module to the kernel unless it has it.
func (l *Loader) insert(ctx context.Context, n *node) (isNew bool, err error) {
	command := l.ix.Config().Install(n.name)
	if slices.Contains(l.plain, n.name) {
		command = ""
	}
	if masked, refused := masks(command); refused {
		return false, &LoadError{Module: n.name, Path: n.path, Op: "install", Err: errors.New("refused by the module configuration (install … false)")}
	} else if masked {
		l.log.Debug(n.name + ": masked by the module configuration")
		return false, nil
	}
	state, err := os.ReadFile(filepath.Join(l.sysfs, "module", n.name, "initstate"))
	if err == nil && strings.TrimSpace(string(state)) == "live" {
		return false, nil
	}
	start := time.Now()
	slow := time.AfterFunc(slowStart, func() {
		l.log.Info(fmt.Sprintf("waiting for %s to start, %v so far", n.name, slowStart))
	})
	defer slow.Stop()
	l.begin(n.name, true)
	defer l.begin(n.name, false)
	if command != "" {
		if err := l.install(ctx, n, command); err != nil {
			return false, &LoadError{Module: n.name, Path: n.path, Op: "install", Err: err}
		}
		return true, nil
	}
	op, err := l.in.insert(n.path, n.params)
	if err == unix.EEXIST {
		return false, nil
	}
	if err != nil {
		return false, &LoadError{Module: n.name, Path: n.path, Op: op, Err: err}
	}
	took := time.Since(start).Round(100 * time.Microsecond)
	l.log.Debug(strings.TrimSpace(fmt.Sprintf("%s loaded in %v %s", n.name, took, n.params)))
	return true, nil
}
