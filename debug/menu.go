package debug

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"netstage/debug/console"
	"netstage/stage1/fault"
)

// Terminal is the console that keys are read from; a *console.TTY is one. A
// Terminal with a method Raw() (restore func() error, err error) is made raw
// first, one with Drain() is drained after each key.
type Terminal interface {
	io.Writer
	ReadKey(ctx context.Context) (byte, error)
}

// Options says who sees the menu and what they may do.
type Options struct {
	// Failure is what they see. Its Next offers c, its Network n.
	Failure fault.Failure
	// Consoles each get the screen and the countdown. One with a method
	// IsTerminal() bool that says yes is redrawn, others get plain lines; one
	// with Size() (width, height int) gets a screen of that size, one with
	// Color() bool that says yes colours.
	Consoles []io.Writer
	// Keys is the interactive console, also one of Consoles as a rule. Nil:
	// nobody can type, and only the countdown runs.
	Keys Terminal
	// AllowShell offers i and f.
	AllowShell bool
	// Final offers nothing but the reboot: any other key leads to it, too.
	Final bool
	// Again says what any other key leads to; default "retry".
	Again string
	// Timeout is how long to wait for a key before GiveUp; 0 waits for ever.
	Timeout time.Duration
	// Hold, when it says true, stops the countdown, and starts it again from
	// the beginning: somebody is logged in who needs no key.
	Hold func() bool
	// Idle is the same after a key stopped the first countdown; default ten
	// times Timeout. A machine isn't lost because a serial line had noise.
	Idle time.Duration
	// KernelLog and AgentLog write what d and l page through; nil: not offered.
	KernelLog, AgentLog func(context.Context, io.Writer) error
	// Width and Height of the screen in characters, where a console has no
	// size of its own; default 80 by 24.
	Width, Height int
	// Log is told what was chosen.
	Log *slog.Logger
}

// item is one key of the menu: a choice, or something to look at after which
// the menu comes back.
type item struct {
	key    byte
	text   string
	choice fault.Choice
	view   func(context.Context) error
}

// items are the keys that may be used now.
func (m *menu) items() []item {
	var items []item
	if m.AllowShell {
		items = append(items,
			item{key: 'i', text: "shell", choice: fault.Shell},
			item{key: 'f', text: "shell as PID 1", choice: fault.ShellPID1})
	}
	if m.Failure.Next != "" {
		items = append(items, item{key: 'c', text: "continue with " + m.Failure.Next, choice: fault.Continue})
	}
	items = append(items, item{key: 'r', text: "reboot", choice: fault.Reboot})
	if m.KernelLog != nil {
		items = append(items, item{key: 'd', text: "kernel log", view: m.pager(m.KernelLog)})
	}
	if m.AgentLog != nil {
		items = append(items, item{key: 'l', text: "agent log", view: m.pager(m.AgentLog)})
	}
	if m.Failure.Network != nil {
		items = append(items, item{key: 'n', text: "network", view: m.watchNetwork})
	}
	return items
}

// Menu shows the failure on every console and waits for one key, without
// Enter, or for the countdown. A key that isn't offered is Retry, so nothing
// typed leads to a shell that isn't allowed; a console that can't be read is
// the same as one that nobody types on. The error is the context's, with
// Reboot.
func Menu(ctx context.Context, o Options) (fault.Choice, error) {
	if o.Width <= 0 || o.Height <= 0 {
		o.Width, o.Height = 80, 24
	}
	if o.Idle == 0 {
		o.Idle = 10 * o.Timeout
	}
	switch {
	case o.Final:
		o.AllowShell, o.Failure.Next, o.Again = false, "", "reboot"
	case o.Again == "":
		o.Again = "retry"
	}
	m := &menu{Options: o}
	for _, w := range o.Consoles {
		t, ok := w.(interface{ IsTerminal() bool })
		m.lines = append(m.lines, console.NewLine(w, ok && t.IsTerminal(), o.Width))
	}
	if t, ok := o.Keys.(interface {
		Raw() (func() error, error)
	}); ok {
		restore, err := t.Raw()
		if err != nil {
			o.Log.Warn("failure menu", "err", err)
		} else {
			defer func() { _ = restore() }()
		}
	}
	choice, err := m.run(ctx)
	m.status("")
	if err == nil {
		o.Log.Info("failure menu: " + string(choice))
	}
	return choice, err
}

type menu struct {
	Options
	lines []*console.Line // one per console
}

func (m *menu) run(ctx context.Context) (fault.Choice, error) {
	timeout := m.Timeout
	for {
		items := m.items()
		m.showScreen(m.menuLine(items))
		key, err := m.key(ctx, timeout)
		if errors.Is(err, errTimeout) {
			return fault.GiveUp, nil
		}
		if err != nil {
			return fault.Reboot, err
		}
		timeout = m.Idle
		chosen := item{choice: fault.Retry}
		if m.Final {
			chosen.choice = fault.Reboot
		}
		for _, it := range items {
			if it.key == key {
				chosen = it
			}
		}
		if chosen.view == nil {
			return chosen.choice, nil
		}
		if err := chosen.view(ctx); err != nil {
			if ctx.Err() != nil {
				return fault.Reboot, ctx.Err()
			}
			m.Log.Warn("failure menu: "+chosen.text, "err", err)
		}
	}
}

// menuLine names the keys that may be used.
func (m *menu) menuLine(items []item) string {
	var b strings.Builder
	b.WriteString("Keys:")
	for _, it := range items {
		fmt.Fprintf(&b, " %c %s,", it.key, it.text)
	}
	return b.String() + " any other: " + m.Again
}

// keyWait is how often a console that nobody counts down on is looked at anew.
const keyWait = 30 * time.Second

var errTimeout = errors.New("nobody pressed a key")

// key waits for a key, counting down in the status line.
func (m *menu) key(ctx context.Context, timeout time.Duration) (byte, error) {
	deadline := time.Now().Add(timeout)
	for {
		tick := keyWait
		if timeout > 0 && m.Hold != nil && m.Hold() {
			m.status("Somebody is logged in: the countdown waits.")
			deadline, tick = time.Now().Add(timeout), time.Second
		} else if timeout > 0 {
			left := time.Until(deadline)
			if left <= 0 {
				m.status("")
				m.show("No key was pressed: rebooting.\n")
				return 0, errTimeout
			}
			secs := (left + time.Second - 1) / time.Second
			m.status(fmt.Sprintf("Reboot in %d s; a key stops the countdown.", secs))
			tick = left - (secs-1)*time.Second
		}
		key, err := m.keyWithin(ctx, tick)
		if err == nil {
			m.status("")
			return key, nil
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
	}
}

// keyWithin reads one key. On a console that can't be read it waits all the
// same: trying again at once would be a busy loop.
func (m *menu) keyWithin(ctx context.Context, d time.Duration) (byte, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	if m.Keys != nil {
		key, err := m.Keys.ReadKey(ctx)
		for err == nil && isFlowControl(key) {
			key, err = m.Keys.ReadKey(ctx)
		}
		if err == nil {
			if t, ok := m.Keys.(interface{ Drain() }); ok {
				t.Drain()
			}
			return key, nil
		}
	}
	<-ctx.Done()
	return 0, ctx.Err()
}

// isFlowControl recognises XON and XOFF, which terminals send by themselves.
func isFlowControl(key byte) bool { return key == 0x11 || key == 0x13 }

// showScreen shows the failure on every console, each by its own means.
func (m *menu) showScreen(foot string) {
	for i, l := range m.lines {
		width, height := m.Width, m.Height
		if c, ok := m.Consoles[i].(interface{ Size() (int, int) }); ok {
			width, height = c.Size()
		}
		text := Screen(m.Failure, width, height-1, m.footFor(m.Consoles[i], foot)) // the last line is the countdown's
		if c, ok := m.Consoles[i].(interface{ Color() bool }); ok && c.Color() {
			text = Painted(text)
		}
		_, _ = io.WriteString(l, text)
	}
}

// footFor names the console where the keys are on those where they aren't.
func (m *menu) footFor(c io.Writer, foot string) string {
	named, ok := m.Keys.(interface{ Name() string })
	if !ok || any(m.Keys) == any(c) {
		return foot
	}
	return strings.Replace(foot, "Keys:", "Keys on "+strings.TrimPrefix(named.Name(), "/dev/")+":", 1)
}

// show writes text to every console. One that fails is not worth a word: the
// others have it.
func (m *menu) show(text string) {
	for _, l := range m.lines {
		_, _ = io.WriteString(l, text)
	}
}

func (m *menu) status(text string) {
	for _, l := range m.lines {
		_ = l.SetStatus(text)
	}
}
