package shell

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTypingCommands(t *testing.T) {
	p := at(t, t.Context())
	p.typ("args 'a b' $((6*7)) $MARK\r")
	p.see(`["a b" "42" "exported"]`)
	p.see("test:/ # ")
	p.typ("cd /proc/self; stat\r")
	p.see("foreground true <nil>")
	p.see("test:/proc/self # ")
	p.typ("nonsense\r")
	p.see("sh: nonsense: not found")
	p.typ("echo st=$?\r")
	p.see("st=127")
	p.typ("if true\r")
	p.see("\r\n> ")
	p.typ("then echo 'two\r")
	p.see("\r\n> ")
	p.typ("lines'; fi\r")
	p.see("two\r\nlines\r\n")
	p.typ("cat <<X\r")
	p.see("> ")
	p.typ("here\r")
	p.see("> ")
	p.typ("X\r")
	p.see("here\r\ntest:/proc/self # ")
	p.typ("echo one \\\r")
	p.see("> ")
	p.typ("two\r")
	p.see("one two\r\n")
	p.typ("echo ) x\r")
	p.see("sh: 1:6: ")
	p.see("test:/proc/self # ")
	p.typ("exit 0\r")
	p.exits(0)
}

func TestExitStatus(t *testing.T) {
	for keys, want := range map[string]int{
		"exit 0\r": 0, "exit 1\r": 1, "exit 200\r": 200, "fail 7\rexit\r": 7, "fail 3\r\x04": 3, "\x04": 0,
	} {
		t.Run(fmt.Sprintf("%q", keys), func(t *testing.T) {
			p := at(t, t.Context())
			for line := range strings.SplitAfterSeq(keys, "\r") {
				if line == "" {
					continue
				}
				p.typ(line)
				if line == "fail 7\r" || line == "fail 3\r" {
					p.see("test:/ # ")
				}
			}
			p.exits(want)
		})
	}
}

// Ctrl-C ends the command, all of a pipeline, or a loop; the shell lives.
func TestCtrlCEndsTheCommand(t *testing.T) {
	p := at(t, t.Context())
	p.typ("sleep 100; echo not\"\"reached\r")
	pid := p.seeNumber("sleeping as ")
	p.typ("\x03")
	p.see("test:/ # ")
	gone(t, pid)
	p.typ("echo st=$?\r")
	p.see("st=130")

	p.typ("sleep 101 | sleep 102 | cat\r")
	a := p.seeNumber("sleeping as ")
	b := p.seeNumber("sleeping as ")
	p.typ("\x03")
	p.see("test:/ # ")
	gone(t, a)
	gone(t, b)

	p.typ("for i in 1 2 3; do sleep 103; done\r")
	pid = p.seeNumber("sleeping as ")
	p.typ("\x03")
	p.see("test:/ # ")
	gone(t, pid)

	p.typ("echo loop; while true; do :; done\r")
	p.see("loop\r\n")
	p.typ("\x03")
	p.see("test:/ # ")

	p.typ("X=$(sleep 104)\r")
	pid = p.seeNumber("sleeping as ")
	p.typ("\x1c") // Ctrl-\ likewise
	p.see("test:/ # ")
	gone(t, pid)

	if all := p.all.String(); strings.Contains(all, "notreached") {
		t.Errorf("the rest of an interrupted line ran:\n%s", all)
	}
	p.typ("exit 5\r")
	p.exits(5)
}

// Ctrl-Z doesn't stop what nobody could continue.
func TestCtrlZDoesNothing(t *testing.T) {
	p := at(t, t.Context())
	p.typ("sleep 0.3; echo after\r")
	p.seeNumber("sleeping as ")
	p.typ("\x1a")
	p.see("after\r\n")
	p.typ("\x1a\x1c")
	p.typ("echo still here\r")
	p.see("still here\r\n")
}

func TestCtrlCAtThePrompt(t *testing.T) {
	p := at(t, t.Context())
	p.typ("echo half")
	p.see("echo half")
	p.typ("\x03")
	p.see("^C\r\ntest:/ # ")
	p.typ("echo 'open\r")
	p.see("\r\n> ")
	p.typ("\x03")
	p.see("^C\r\ntest:/ # ")
	p.typ("echo st=$?\r")
	p.see("st=130\r\n")
	p.typ("half\x04") // Ctrl-D doesn't leave in the middle of a line
	p.typ("\x03echo alive\r")
	p.see("alive\r\n")
}

func TestHistory(t *testing.T) {
	p := at(t, t.Context())
	p.typ("args first\r")
	p.see(`["first"]`)
	p.see("# ")
	p.typ("args second\r")
	p.see(`["second"]`)
	p.see("# ")
	p.typ("\x1b[A\x1b[A\r") // up, up
	p.see(`["first"]`)
	p.see("# ")
	p.typ("\x1b[A\x7f\x7fX\r") // up, two back
	p.see(`["firX"]`)
}

// Typed ahead of a command, input belongs to the command.
func TestTypeAhead(t *testing.T) {
	p := at(t, t.Context())
	p.typ("stat; cat\r")
	p.see("foreground true") // in cooked mode by now
	p.typ("for the command\n\x04")
	p.see("for the command\r\n")
	p.see("for the command\r\ntest:/ # ")
	p.typ("echo one\recho two\r")
	p.see("one\r\n")
	p.see("two\r\n")
}

func TestBackgroundJobs(t *testing.T) {
	p := at(t, t.Context())
	p.typ("sleep 100 &\r")
	p.see("[1] sleep 100 &")
	a := p.seeNumber("sleeping as ")
	p.typ("sleep 200 &\r")
	b := p.seeNumber("sleeping as ")
	p.typ("jobs\r")
	p.see("[1] running  sleep 100\r\n[2] running  sleep 200\r\n")
	p.typ("stat\r")
	p.see("foreground true <nil>")
	p.typ("sleep 300\r")
	c := p.seeNumber("sleeping as ")
	p.typ("\x03") // for the foreground only
	p.see("test:/ # ")
	gone(t, c)
	if unix.Kill(a, 0) != nil || unix.Kill(b, 0) != nil {
		t.Error("Ctrl-C reached the background")
	}
	p.typ("kill %1\r")
	gone(t, a)
	p.typ("echo wait''ing; wait\r")
	p.see("waiting\r\n")
	p.typ("\x03")
	p.see("test:/ # ")
	p.typ("exit\r")
	<-p.exit
	gone(t, b) // no job outlives the shell
}

func TestHangUpLeavesTheShell(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := at(t, ctx)
	p.typ("sleep 100\r")
	pid := p.seeNumber("sleeping as ")
	cancel()
	p.exits(1)
	gone(t, pid)
}

func TestRead(t *testing.T) {
	p := at(t, t.Context())
	p.typ("echo rea''dy; read x; echo got $x\r")
	p.see("ready\r\n")
	p.typ("val\r")
	p.see("got val\r\n")
	p.typ("echo rea''dy; read -r x\r")
	p.see("ready\r\n")
	p.typ("\x03")
	p.see("test:/ # ")
}
