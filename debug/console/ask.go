package console

import (
	"context"
	"strings"
	"time"
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

// Meet finds out whether the terminal understands more than plain text: the
// kernel's own does, and one that says where its cursor is (ECMA-48, DSR).
func (t *TTY) Meet(ctx context.Context) {
	t.color = isScreen(t.Name())
	if t.color || !t.IsTerminal() {
		return
	}
	answer, err := t.Ask(ctx, "\x1b[6n", 'R')
	t.color = err == nil && strings.Contains(answer, "\x1b[")
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
