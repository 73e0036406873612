package pid1

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// SwitchRoot is what PID 1 does at the end of a boot, by hand: for the shell
// that it has become. It returns only when that failed.
func SwitchRoot(say func(string), root string, argv []string) error {
	if os.Getpid() != 1 {
		return errors.New("only the shell that is PID 1 can do that (key f of the failure menu)")
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	s := Stage2{Root: filepath.Clean(root), Init: argv[0], Args: argv[1:]}
	for _, name := range []string{"/proc", "/sys", "/dev", "/run"} {
		var own, parent unix.Stat_t
		if unix.Stat(name, &own) == nil && unix.Stat("/", &parent) == nil && own.Dev != parent.Dev {
			s.Move = append(s.Move, name)
		}
	}
	c := Config{Exe: exe, Say: say, Limits: Limits{}.orDefaults(), watchdog: &watchdog{say: say}, restore: func() {}}
	return c.handOver(s)
}

// Exec replaces the shell that is PID 1 by a program. It returns only when that
// failed.
func Exec(argv, env []string) error {
	if os.Getpid() != 1 {
		return errors.New("this is not PID 1")
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	if err := syscall.Exec(path, argv, env); err != nil {
		return fmt.Errorf("execute %s: %w", path, err)
	}
	return nil
}
