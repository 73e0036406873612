package debug

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// A PasswordPrompt asks for a password before a shell. It remembers the wrong
// ones for as long as it lives: each makes the wait before the next longer, and
// going away and coming back does not shorten it.
type PasswordPrompt struct {
	// Check compares with the password. An error says why that is not possible.
	Check func(password []byte) (bool, error)
	// Log is told of right and wrong passwords, never what they were.
	Log *slog.Logger

	wrong int       // in a row
	until time.Time // nothing is looked at before
	pause func(ctx context.Context, d time.Duration) error
}

const (
	triesAtOnce = 3 // then the menu comes back, and with it its countdown
	longestWait = time.Minute
	maxPassword = 512
)

// Ask asks on t until the password is right, which it returns, or it was wrong
// three times, the person gives up by Ctrl-C, Ctrl-D, Ctrl-Z, Ctrl-\ or an
// empty line, or the limit is over, be anybody there or not. Nothing that is
// typed is shown.
func (p *PasswordPrompt) Ask(ctx context.Context, t Terminal, limit time.Duration) bool {
	if raw, ok := t.(interface {
		Raw() (func() error, error)
	}); ok {
		restore, err := raw.Raw()
		if err != nil {
			p.Log.Error("no shell: the password can't be asked for unseen", "err", err)
			return false
		}
		defer func() { _ = restore() }()
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	say := func(format string, args ...any) {
		_, _ = fmt.Fprintf(t, format, args...) // a console that fails is read all the same
	}
	if p.pause == nil {
		p.pause = pause
	}
	for range triesAtOnce {
		if wait := time.Until(p.until); wait > 0 {
			say("The next password is looked at in %d s.\n", (wait+time.Second-1)/time.Second)
			if p.pause(ctx, wait) != nil {
				break
			}
		}
		if keys, ok := t.(interface{ Drain() }); ok {
			keys.Drain()
		}
		say("Password for a shell (Enter alone goes back): ")
		password, err := readPassword(ctx, t)
		say("\n")
		if err != nil || len(password) == 0 {
			break
		}
		right, err := p.Check(password)
		clear(password)
		if err != nil {
			p.Log.Error("no shell", "err", err)
			return false
		}
		if right {
			p.wrong, p.until = 0, time.Time{}
			p.Log.Warn("shell: the password was right")
			return true
		}
		p.wrong++
		wait := min(time.Second<<min(p.wrong-1, 10), longestWait)
		p.until = time.Now().Add(wait)
		p.Log.Warn(fmt.Sprintf("shell: wrong password, number %d", p.wrong))
		say("That is not the password.\n")
	}
	if ctx.Err() != nil {
		say("\nThe time for the password is over.\n")
	}
	return false
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errGaveUp = errors.New("gave up")

// readPassword reads up to Enter, unseen.
func readPassword(ctx context.Context, t Terminal) ([]byte, error) {
	var password []byte
	for {
		key, err := t.ReadKey(ctx)
		if err != nil {
			if errors.Is(err, io.EOF) {
				<-ctx.Done() // a console that can't be read; asking again at once would be a busy loop
			}
			return nil, err
		}
		switch key {
		case '\r', '\n':
			return password, nil
		case 0x03, 0x04, 0x1a, 0x1c: // Ctrl-C, Ctrl-D, Ctrl-Z, Ctrl-\
			return nil, errGaveUp
		case 0x15: // Ctrl-U
			password = password[:0]
		case 0x7f, 0x08:
			password = password[:max(len(password)-1, 0)]
		default:
			if len(password) <= maxPassword { // one more than allowed matches nothing
				password = append(password, key)
			}
		}
	}
}
