package qemutests

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// hostTemp is where folders of this host's processes are.
var hostTemp = os.TempDir()

// ownFolder makes a folder for all that these tests write, also by TempDir, and
// removes those of earlier ones that were killed. It is removed at the end,
// which a signal is, too.
func ownFolder() (dir string, remove func()) {
	sweep(hostTemp)
	sweepNetworks("/run/netns")
	dir, err := os.MkdirTemp("", fmt.Sprintf("netstage-test-%d-", os.Getpid()))
	if err != nil {
		panic(err)
	}
	os.Setenv("TMPDIR", dir)
	remove = func() { os.RemoveAll(dir) }
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	go func() {
		number := (<-ended).(unix.Signal)
		remove()
		os.Exit(128 + int(number))
	}()
	return dir, remove
}

// What tests leave that are killed, by the names that they give: with the
// process.
var (
	ownName    = regexp.MustCompile(`^netstage-test-(\d+)-\d+$`)
	ownNetwork = regexp.MustCompile(`^ns(\d+)-\d+$`)
)

// left are what is in a folder and belongs to a process that is gone.
func left(dir string, names *regexp.Regexp) (paths []string) {
	found, _ := os.ReadDir(dir) // none: there is nothing to do
	for _, entry := range found {
		if name := names.FindStringSubmatch(entry.Name()); name != nil {
			if pid, err := strconv.Atoi(name[1]); err == nil && unix.Kill(pid, 0) == unix.ESRCH {
				paths = append(paths, filepath.Join(dir, entry.Name()))
			}
		}
	}
	return paths
}

// sweep removes the folders of tests that are gone, unless something is mounted
// there.
func sweep(temp string) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return
	}
	for _, dir := range left(temp, ownName) {
		if !strings.Contains(string(mounts), " "+dir+"/") {
			os.RemoveAll(dir)
		}
	}
}

// sweepNetworks gives back the names of networks, and with them their links.
func sweepNetworks(dir string) {
	for _, name := range left(dir, ownNetwork) {
		unix.Unmount(name, unix.MNT_DETACH)
		os.Remove(name)
	}
}

// What tests that were killed have left goes with the next ones; that of others
// which run stays.
func TestSweep(t *testing.T) {
	temp := t.TempDir()
	const gone = 1 << 23 // no process has such a number: PID_MAX_LIMIT
	for name, stays := range map[string]bool{
		fmt.Sprintf("netstage-test-%d-17", gone): false, fmt.Sprintf("netstage-test-%d-17", os.Getpid()): true,
		fmt.Sprintf("netstage-test-%d", gone): true, fmt.Sprintf("other-%d-17", gone): true,
	} {
		dir := filepath.Join(temp, name)
		writeFile(t, dir+"/Test/001/file", "")
		sweep(temp)
		if _, err := os.Stat(dir); (err == nil) != stays {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, stays := range map[string]bool{fmt.Sprintf("ns%d-3", gone): false, fmt.Sprintf("ns%d-3", os.Getpid()): true, "other": true} {
		writeFile(t, filepath.Join(temp, name), "")
		sweepNetworks(temp)
		if _, err := os.Stat(filepath.Join(temp, name)); (err == nil) != stays {
			t.Errorf("%s: %v", name, err)
		}
	}
	if dir := t.TempDir(); !strings.HasPrefix(dir, built.dir+"/") {
		t.Errorf("%s is not below %s", dir, built.dir)
	}
}
