package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/syntax"

	"netstage/debug/internal/waitfd"
)

// errInterrupt is a Ctrl-C at the prompt.
var errInterrupt = errors.New("interrupted")

// errHangup is a terminal that is gone.
var errHangup = errors.New("hung up")

// statusHangup is the status of a shell whose terminal went away or that was
// told to go: never 0, which a caller may take for "go on".
const statusHangup = 128 + int(unix.SIGHUP)

// lines is where commands come from.
type lines interface {
	// readLine returns the next line without its end. io.EOF: there are no
	// more. errHangup: there is nobody any more.
	readLine(ctx context.Context, prompt string) (string, error)
}

// loop reads commands, a line or as many as a statement needs, and runs them.
func (s *shell) loop(ctx context.Context, in lines) int {
	text := ""
	for !s.exited && ctx.Err() == nil {
		prompt := s.prompt()
		if text != "" {
			prompt = "> "
		}
		line, err := in.readLine(ctx, prompt)
		switch {
		case errors.Is(err, errInterrupt):
			text, s.status = "", 130
			s.remember(ctx)
			continue
		case errors.Is(err, errHangup) || ctx.Err() != nil:
			s.status = statusHangup
			return s.exit(ctx)
		case err != nil && line == "":
			if text != "" {
				s.parse(text, true)
				s.status = 2
			}
			return s.exit(ctx)
		}
		text += line + "\n"
		stmts, more := s.parse(text, false)
		if more {
			continue
		}
		text = ""
		s.run(ctx, stmts)
	}
	return s.exit(ctx)
}

// parse parses text. More is true when it is the beginning of something longer
// and not the end of the input.
func (s *shell) parse(text string, end bool) (stmts []*syntax.Stmt, more bool) {
	if !end && continued(text) {
		return nil, true
	}
	file, err := s.parser.Parse(strings.NewReader(text), "")
	if err != nil {
		if !end && syntax.IsIncomplete(err) {
			return nil, true
		}
		fmt.Fprintf(s.stderr, "sh: %v\n", err)
		s.status = 2
		return nil, false
	}
	return file.Stmts, false
}

// continued says whether the last line ends in a backslash of its own.
func continued(text string) bool {
	text = strings.TrimSuffix(text, "\n")
	n := len(text) - len(strings.TrimRight(text, `\`))
	return n%2 == 1
}

func (s *shell) prompt() string {
	dir := s.runner.Dir
	if dir == "" {
		dir = "/"
	}
	return s.Prompt + ":" + dir + " # "
}

// lineReader reads commands from something that is no terminal, a byte at a
// time: what follows a command belongs to that command.
type lineReader struct{ in *os.File }

func (l *lineReader) readLine(ctx context.Context, _ string) (string, error) {
	var line []byte
	for {
		b, err := readByte(ctx, l.in)
		if err != nil {
			return string(line), err
		}
		if b == '\n' {
			return string(line), nil
		}
		line = append(line, b)
	}
}

// readByte reads one byte, or returns io.EOF at the end or on a hang-up.
func readByte(ctx context.Context, f *os.File) (byte, error) {
	var b [1]byte
	for {
		err := waitfd.Readable(ctx, int(f.Fd()))
		if err != nil {
			if errors.Is(err, waitfd.ErrHangup) {
				err = io.EOF
			}
			return 0, err
		}
		n, err := f.Read(b[:])
		if n == 1 {
			return b[0], nil
		}
		if err != nil {
			return 0, io.EOF // a terminal that fails is as good as gone
		}
	}
}
