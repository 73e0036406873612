// Package namespaced runs a package's tests in namespaces of their own, where
// they are root and process 1 whoever started them, and see a root file system
// that is theirs alone: what they mount, kill and move is nobody else's.
package namespaced

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// marker tells the test program that it is inside.
const marker = "NETSTAGE_TEST_NAMESPACE"

// outside is the exit status of a program that can't be inside.
const outside = 125

// Inside tells whether the tests are: they are not where the kernel lets nobody
// make such namespaces, with -race, and while fuzzing, which needs none.
func Inside() bool { return os.Getenv(marker) != "" }

// Need skips a test that is not inside.
func Need(t testing.TB) {
	t.Helper()
	switch {
	case Inside():
	case raced:
		t.Skip("needs a program without libraries, which one with -race is not")
	default:
		t.Skip("needs user namespaces (sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces)")
	}
}

// Main is a TestMain. Inside, / is a tmpfs with the test program as /init,
// /proc and /sys, /dev with null, urandom and pts, and /tmp; /proc/sys/kernel
// is empty. There is no network but a loopback interface that is down. Folders
// that are to be shared are as outside; a test program with libraries finds
// those in /usr/lib, /lib and /lib64.
func Main(m *testing.M, share ...string) {
	fuzzing := slices.ContainsFunc(os.Args, func(a string) bool {
		return strings.HasPrefix(a, "-test.fuzz=") || a == "-test.fuzzworker"
	})
	switch {
	case Inside():
		if err := ownRoot(share); err != nil {
			fmt.Fprintln(os.Stderr, "make a root for the tests:", err)
			os.Exit(outside)
		}
	case !fuzzing && !raced:
		if status, ok := again(); ok {
			os.Exit(status)
		}
	}
	os.Exit(m.Run())
}

// again runs this program once more, inside. It is not ok where that can't be.
func again() (status int, ok bool) {
	runtime.LockOSThread() // Pdeathsig goes with the thread
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), marker+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	err := cmd.Run()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() == outside {
		return 0, false
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() < 0 {
		fmt.Fprintln(os.Stderr, "the tests ended:", err)
		return 1, true
	}
	return cmd.ProcessState.ExitCode(), true
}

// ownRoot makes a root file system, and goes there. The working directory, and
// what go test wants written, are there by the same names.
func ownRoot(shared []string) error {
	here, err := os.Getwd()
	if err != nil {
		return err
	}
	shared = append(shared, here)
	for _, arg := range os.Args[1:] {
		if _, path, _ := strings.Cut(arg, "="); strings.HasPrefix(arg, "-test.") && filepath.IsAbs(path) {
			shared = append(shared, filepath.Dir(path))
		}
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to itself: %w", err)
	}
	root := os.TempDir()
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount a tmpfs: %w", err)
	}
	return errors.Join(fill(root, shared), unix.Chdir(here))
}

func fill(root string, shared []string) error {
	old := filepath.Join(root, "old")
	for _, dir := range []string{"old", "proc", "dev", "run", "sys", "tmp"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	if err := copyProgram(filepath.Join(root, "init")); err != nil {
		return err
	}
	if err := unix.PivotRoot(root, old); err != nil {
		return fmt.Errorf("pivot the root: %w", err)
	}
	for _, dir := range shared {
		if _, err := os.Stat("/old" + dir); err != nil {
			continue // nor is it there outside
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("/old"+dir, dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("bind %s: %w", dir, err)
		}
	}
	if err := os.MkdirAll(os.TempDir(), 0o755); err != nil { // by TMPDIR
		return err
	}
	if err := unix.Mount("tmpfs", "/dev", "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	for _, name := range []string{"/dev/null", "/dev/urandom"} {
		if err := os.WriteFile(name, nil, 0o666); err != nil {
			return err
		}
		if err := unix.Mount("/old"+name, name, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind %s: %w", name, err)
		}
	}
	if err := os.Mkdir("/dev/pts", 0o755); err != nil {
		return err
	}
	for kind, dir := range map[string]string{"proc": "/proc", "sysfs": "/sys", "devpts": "/dev/pts"} {
		if err := unix.Mount(kind, dir, kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	// The kernel's settings are not the tests' to change.
	if err := unix.Mount("tmpfs", "/proc/sys/kernel", "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	return unix.Unmount("/old", unix.MNT_DETACH)
}

func copyProgram(to string) error {
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer from.Close()
	file, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, from)
	return errors.Join(err, file.Close())
}
