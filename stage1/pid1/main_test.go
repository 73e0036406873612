package pid1

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"netstage/qemu-tests/namespaced"
)

// The tests are PID 1 of a machine of namespaces; by the names of its children
// this program plays those.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "boot", "rescue":
		play(os.Args[0])
	case "prepare", "@keep":
		play(strings.TrimPrefix(filepath.Base(os.Args[0]), "@"))
	}
	namespaced.Main(m)
}

// roleDir has what each child does, by its name, and what it saw.
const roleDir = "/run/roles"

// role says what children of a name do next, and what they write.
func role(t *testing.T, name, does string) {
	t.Helper()
	if err := os.MkdirAll(roleDir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(roleDir, name), []byte(does), 0o644); err != nil {
		t.Fatal(err)
	}
}

// saw is what the last child of a name was given.
func saw(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(roleDir, name+".saw"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// play is a child: the words of its role are done one after another.
func play(name string) {
	does, err := os.ReadFile(filepath.Join(roleDir, name))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(99)
	}
	seen := strings.Join(os.Args[1:], "|")
	if len(os.Args) > 3 {
		memory, err := io.ReadAll(os.NewFile(5, "memory"))
		seen += fmt.Sprintf("|%s %v", memory, err)
	}
	os.WriteFile(filepath.Join(roleDir, name+".saw"), []byte(seen), 0o644)
	for word := range strings.FieldsSeq(string(does)) {
		what, rest, _ := strings.Cut(word, ":")
		switch what {
		case "exit":
			var status int
			fmt.Sscan(rest, &status)
			os.Exit(status)
		case "die":
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		case "hang":
			time.Sleep(time.Hour)
		case "say": // a verdict, or a part of one
			tell(3, rest)
		case "end":
			tell(3, "\n")
		case "live": // for some seconds
			var seconds int
			fmt.Sscan(rest, &seconds)
			for range 5 * seconds {
				tell(4, Heartbeat(time.Minute, true))
				time.Sleep(200 * time.Millisecond)
			}
		}
	}
	os.Exit(0)
}

// tell writes to a descriptor that PID 1 gave, or the child ends.
func tell(fd int, text string) {
	if n, err := syscall.Write(fd, []byte(text)); err != nil || n != len(text) {
		fmt.Fprintf(os.Stderr, "%s: write to %d: %d bytes, %v\n", os.Args[0], fd, n, err)
		os.Exit(98)
	}
}

// machine is PID 1 with short limits, but for the silence of a child that a
// busy host lets wait; what it says is kept.
func machine(t *testing.T) (Config, *strings.Builder) {
	namespaced.Need(t)
	said := new(strings.Builder)
	say := func(line string) { said.WriteString(line + "\n") }
	return Config{
		Exe: "/init", Say: say, watchdog: &watchdog{say: say}, restore: func() {},
		Limits: Limits{Silence: time.Minute, Grace: time.Second, HandOver: time.Minute, Prepare: 2 * time.Second}.orDefaults(),
	}, said
}
