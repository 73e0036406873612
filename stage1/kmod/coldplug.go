package kmod

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"netstage/stage1/modindex"
)

// Report tells what Coldplug did.
type Report struct {
	Modaliases int           // different ones seen in sysfs
	Matched    int           // of those, the ones the index has a driver for
	Loaded     []string      // modules that are new in the kernel
	Failed     []error       // *LoadError of each module that failed
	Rounds     int           // passes over sysfs
	Took       time.Duration // all of it
}

// Coldplug loads the drivers of every device that sysfs shows, and goes on
// while the drivers of buses bring new devices. A module that fails is warned
// of and in the report; the error is for sysfs itself or an ended context.
// sysfs is where sysfs is mounted.
func (l *Loader) Coldplug(ctx context.Context, sysfs string) (Report, error) {
	start := time.Now()
	var r Report
	l.listenMu.Lock()
	l.sysfs = sysfs
	l.listenMu.Unlock()
	tried := map[string]bool{}
	for {
		if err := ctx.Err(); err != nil {
			return r, fmt.Errorf("drivers of %s: %w", sysfs, err)
		}
		found, err := Modaliases(sysfs)
		if err != nil {
			return r, fmt.Errorf("drivers of %s: %w", sysfs, err)
		}
		fresh := slices.DeleteFunc(found, func(m string) bool { return tried[m] })
		r.Rounds++
		r.Took = time.Since(start)
		if len(fresh) == 0 {
			return r, nil
		}
		for _, m := range fresh {
			tried[m] = true
		}
		r.Modaliases += len(fresh)
		matched, loaded, failed := l.drive(ctx, fresh)
		r.Matched += matched
		r.Loaded = append(r.Loaded, loaded...)
		r.Failed = append(r.Failed, failed...)
		if len(loaded) == 0 {
			// Nothing new in the kernel: it can have brought no device.
			r.Took = time.Since(start)
			return r, ctx.Err()
		}
	}
}

// drive loads the drivers of modaliases, those of all in one go so that they
// start in parallel, and remembers the ones that are settled.
func (l *Loader) drive(ctx context.Context, modaliases []string) (matched int, loaded []string, failed []error) {
	var wanted []modindex.Target
	var settled []string
	l.seenMu.Lock()
	for _, m := range modaliases {
		if l.seen[m] {
			continue
		}
		found, err := l.ix.Find(m)
		if err == nil {
			matched++
		}
		for _, t := range found {
			if !slices.ContainsFunc(wanted, func(w modindex.Target) bool { return w.Name == t.Name }) {
				wanted = append(wanted, t)
			}
		}
		settled = append(settled, m)
	}
	l.seenMu.Unlock()
	if len(wanted) > 0 {
		loaded, failed = l.loadModules(ctx, wanted)
	}
	if ctx.Err() != nil {
		return matched, loaded, failed
	}
	l.tell(failed)
	if len(failed) > 0 {
		return matched, loaded, failed // try all again next time; it is cheap
	}
	l.seenMu.Lock()
	for _, m := range settled {
		l.seen[m] = true
	}
	l.seenMu.Unlock()
	return matched, loaded, failed
}

// tell warns of drivers that could not be loaded; of each cause once, since all
// are tried again with the next device.
func (l *Loader) tell(failed []error) {
	var files, lines []string
	for _, err := range failed {
		le, ok := err.(*LoadError)
		switch {
		case ok && le.absent():
			l.log.Debug(err.Error())
		case ok && le.unpacked():
			files = append(files, le.root().Path)
		default:
			lines = append(lines, err.Error())
		}
	}
	l.seenMu.Lock()
	defer l.seenMu.Unlock()
	fresh := func(text string) bool {
		was := l.warned[text]
		l.warned[text] = true
		return !was
	}
	slices.Sort(files)
	if files = slices.DeleteFunc(slices.Compact(files), func(f string) bool { return !fresh(f) }); len(files) > 0 {
		l.log.Warn("the index names files that are missing, for devices that are there: " + strings.Join(files, " ") + ": pack the initrd again")
	}
	for _, line := range lines {
		if fresh(line) {
			l.log.Warn(line)
		}
	}
}

// Modaliases returns the modalias of every device that sysfs shows, each
// different one once. They are found by bus, not by walking sysfs/devices:
// every device with a modalias is on a bus, but for the few classes named
// here, and a machine has ten times more folders than devices.
func Modaliases(sysfs string) ([]string, error) {
	buses, err := readNames(filepath.Join(sysfs, "bus"))
	if err != nil {
		return nil, err
	}
	var all []string
	seen := map[string]bool{}
	buf := make([]byte, 4096)
	add := func(path string) {
		m := readSmall(path, buf)
		if m != "" && !seen[m] {
			seen[m] = true
			all = append(all, m)
		}
	}
	for _, bus := range buses {
		dir := filepath.Join(sysfs, "bus", bus, "devices")
		devices, _ := readNames(dir)
		for _, d := range devices {
			add(dir + "/" + d + "/modalias")
		}
	}
	for _, class := range []string{"dmi", "input"} {
		dir := filepath.Join(sysfs, "class", class)
		devices, _ := readNames(dir)
		for _, d := range devices {
			add(dir + "/" + d + "/modalias")
		}
	}
	add(filepath.Join(sysfs, "devices/system/cpu/modalias"))
	return all, nil
}

// readNames lists a folder, sorted, so that a boot is the same every time.
func readNames(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// readSmall returns the trimmed text of a sysfs attribute, empty on any error.
func readSmall(path string, buf []byte) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	n, _ := f.Read(buf)
	return strings.TrimSpace(string(buf[:n]))
}

// bound says whether a device's folder has a driver.
func bound(device string) bool {
	_, err := os.Lstat(filepath.Join(device, "driver"))
	return err == nil
}
