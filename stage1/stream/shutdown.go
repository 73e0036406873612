package stream

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A shutdown must not wait for a server that is away: what it takes is read
// before, so that it is in memory for good. systemd executes systemd-shutdown
// as PID 1; without it the machine would hang there.

// systemdLimit is how long systemd may take to become PID 1.
const systemdLimit = 10 * time.Minute

// forShutdown is what is needed besides the libraries of systemd itself, beside
// it or one of them, or in the folder of programs.
var forShutdown = []string{"systemd-shutdown", "systemd-executor", "../../bin/systemctl", "../../bin/umount"}

// readForShutdown reads what a shutdown takes, through PID 1's root. It is a
// process of its own: one that waits for a block can't be killed.
func readForShutdown() {
	const root = "/proc/1/root"
	var maps string
	// By its library: as an init it has any name.
	for end := time.Now().Add(systemdLimit); !strings.Contains(maps, "/libsystemd-shared"); time.Sleep(time.Second) {
		text, _ := os.ReadFile("/proc/1/maps") // none: once more
		maps = string(text)
		if time.Now().After(end) { // another init: nothing is known of it
			return
		}
	}
	done := map[string]bool{}
	read := func(names []string) {
		for _, name := range names {
			if done[name] {
				continue
			}
			done[name] = true
			if file, err := os.Open(root + name); err == nil {
				_, _ = io.Copy(io.Discard, file) // what can't be read now can't be read then
				file.Close()
			}
		}
	}
	there := func(name string) bool {
		_, err := os.Stat(root + name)
		return err == nil
	}
	read(shutdownFiles(maps, there))
	// Its other libraries may be on their way still, and those who pass the
	// word on start later.
	for n, quiet := 0, 0; n < 12 && quiet < 2; n++ {
		time.Sleep(5 * time.Second)
		had := len(done)
		if text, err := os.ReadFile("/proc/1/maps"); err == nil {
			read(shutdownFiles(string(text), there))
		}
		files := mappedBy(messengers)
		read(files)
		if quiet++; len(files) == 0 || len(done) > had {
			quiet = 0
		}
	}
}

// messengers are the programs between systemctl and PID 1.
var messengers = []string{"systemd-logind", "dbus-daemon", "dbus-broker", "dbus-broker-lau"}

// mappedBy is what the processes of these names have mapped.
func mappedBy(names []string) (files []string) {
	dirs, _ := filepath.Glob("/proc/[0-9]*") // none: none
	for _, dir := range dirs {
		comm, _ := os.ReadFile(dir + "/comm")
		if slices.Contains(names, strings.TrimSpace(string(comm))) {
			maps, _ := os.ReadFile(dir + "/maps") // it has ended
			files = append(files, shutdownFiles(string(maps), func(string) bool { return false })...)
		}
	}
	return files
}

// shutdownFiles are those of a mapped program and what lies beside them.
func shutdownFiles(maps string, exists func(string) bool) (files []string) {
	seen := map[string]bool{}
	add := func(name string) {
		if !seen[name] {
			seen[name] = true
			files = append(files, name)
		}
	}
	var mapped []string
	for line := range strings.Lines(maps) {
		// address perms offset dev inode path (proc_pid_maps(5))
		fields := strings.Fields(line)
		if len(fields) == 6 && strings.HasPrefix(fields[5], "/") && !seen[fields[5]] {
			add(fields[5])
			mapped = append(mapped, fields[5])
		}
	}
	dirs := []string{"/usr/lib/systemd"}
	for _, name := range mapped {
		dirs = append(dirs, filepath.Dir(name))
	}
	for _, want := range forShutdown {
		for _, dir := range dirs {
			if name := filepath.Join(dir, want); exists(name) {
				add(name)
			}
		}
	}
	return files
}
