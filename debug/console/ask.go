package console

import (
	"context"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// answerTime is how long a terminal may take to answer: enough for a line of
// 9600 baud through a terminal server.
const answerTime = 300 * time.Millisecond

// Ask sends a terminal a question and returns its answer, up to and with the
// byte that ends it. What was typed before is lost. A terminal that doesn't
// understand is silent, and the error is context.DeadlineExceeded.
func (t *TTY) Ask(ctx context.Context, question string, end byte) (string, error) {
	restore, err := t.Raw() // else the answer would wait for an Enter, and be echoed
	if err != nil {
		return "", err
	}
	defer func() { _ = restore() }()
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	t.Drain()
	if _, err := t.Write([]byte(question)); err != nil {
		return "", err
	}
	var answer strings.Builder
	for answer.Len() < 64 {
		key, err := t.ReadKey(ctx)
		if err != nil {
			return "", err
		}
		answer.WriteByte(key)
		if key == end {
			break
		}
	}
	return answer.String(), nil
}

// Identify finds out whether the terminal understands more than plain text: the
// kernel's own does, and one that says where its cursor is (ECMA-48, DSR).
// Where the kernel doesn't know the size, as on a serial line, the cursor is
// asked for in the far corner, and the kernel is told.
func (t *TTY) Identify(ctx context.Context) {
	t.color = isScreen(t.Name())
	if t.color || !t.IsTerminal() {
		return
	}
	size, err := unix.IoctlGetWinsize(t.fd, unix.TIOCGWINSZ)
	unknown := err == nil && size.Col == 0 && size.Row == 0
	question := "\x1b[6n"
	if unknown {
		question = "\x1b7\x1b[999;999H\x1b[6n\x1b8" // the cursor comes back
	}
	answer, err := t.Ask(ctx, question, 'R')
	t.color = err == nil && strings.Contains(answer, "\x1b[")
	t.unanswered = !t.color
	if rows, columns, ok := parsePosition(answer); ok && unknown {
		_ = unix.IoctlSetWinsize(t.fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}) // else it stays unknown
	}
}

// lateAnswer reads what follows an ESC, where an answer is still owed, and
// reports whether this was it: a terminal far away may take its time, and its
// answer is nobody's key.
func (t *TTY) lateAnswer(ctx context.Context) bool {
	if !t.unanswered {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	for n := range 16 {
		key, err := t.readKey(ctx)
		switch {
		case err != nil:
			return false
		case key == 'R' && n > 3: // [1;1R
			t.unanswered, t.color = false, true
			return true
		case key != '[' && key != ';' && (key < '0' || key > '9'):
			return false
		}
	}
	return false
}

// parsePosition reads the cursor's position, "ESC [ ROW ; COLUMN R", as the
// corner of a screen that somebody may sit at.
func parsePosition(answer string) (rows, columns uint16, ok bool) {
	_, report, _ := strings.Cut(answer, "\x1b[")
	row, column, _ := strings.Cut(strings.TrimSuffix(report, "R"), ";")
	r, err := strconv.ParseUint(row, 10, 16)
	c, err2 := strconv.ParseUint(column, 10, 16)
	if err != nil || err2 != nil || r < 4 || r > 999 || c < 20 || c > 999 {
		return 0, 0, false
	}
	return uint16(r), uint16(c), true
}

// Color says whether the terminal shows colours and moves its cursor. It is
// known after Meet.
func (t *TTY) Color() bool { return t.color }

// isScreen tells the kernel's own terminals, tty0 and its like, from lines to
// others.
func isScreen(path string) bool {
	n := strings.TrimPrefix(path, "/dev/tty")
	return n != path && n != "" && n[0] >= '0' && n[0] <= '9'
}
