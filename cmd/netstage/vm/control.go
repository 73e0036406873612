package vm

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"netstage/cmd/netstage/vm/transcript"
)

// Expect waits until text is on the serial console, after all that was
// expected before, and returns what came before it. Text is without carriage
// returns and escape sequences. An error shows the end of the console and how
// to reproduce it.
func (m *Machine) Expect(ctx context.Context, text string) (before string, err error) {
	before, _, err = m.console.Expect(ctx, transcript.Text(text))
	if err != nil {
		err = m.explain(fmt.Errorf("the console did not show %q: %w", text, err))
	}
	return before, err
}

// ExpectPattern is Expect for a regular expression; it returns what matched.
func (m *Machine) ExpectPattern(ctx context.Context, re *regexp.Regexp) (match string, err error) {
	_, match, err = m.console.Expect(ctx, transcript.Pattern(re))
	if err != nil {
		err = m.explain(fmt.Errorf("the console did not show %s: %w", re, err))
	}
	return match, err
}

// Send types text at the serial console. Enter is "\r" or "\n".
func (m *Machine) Send(text string) error {
	// QEMU takes a Ctrl-A for itself, two for one of the guest's.
	_, err := m.stdin.WriteString(strings.ReplaceAll(text, "\x01", "\x01\x01"))
	return err
}

// Console returns all that the serial console has shown, without carriage
// returns and escape sequences.
func (m *Machine) Console() string { return m.console.String() }

// PeakMemory is the most memory that QEMU used, in bytes, once it has ended.
func (m *Machine) PeakMemory() int64 {
	<-m.exited
	return m.peak
}

// QMP executes a command of QEMU's control channel and returns its answer.
func (m *Machine) QMP(ctx context.Context, command string, arguments any) (json.RawMessage, error) {
	if m.control == nil {
		return nil, errEnded
	}
	return m.control.command(ctx, command, arguments)
}

// SetLink plugs the cable of a network card in or out.
func (m *Machine) SetLink(ctx context.Context, nic int, up bool) error {
	_, err := m.QMP(ctx, "set_link", map[string]any{"name": fmt.Sprintf("nic%d", nic), "up": up})
	return err
}

// Screendump writes a picture of the machine's screen to a file (PPM).
func (m *Machine) Screendump(ctx context.Context, file string) error {
	file, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	_, err = m.QMP(ctx, "screendump", map[string]any{"filename": file})
	return err
}

// Command returns the command line of QEMU, for a shell. Only the control
// channel is left out, which lies in a folder that is gone afterwards, as is
// the HTTP server.
func (m *Machine) Command() string {
	var args []string
	for i := 0; i < len(m.args); i++ {
		if m.args[i] == "-qmp" {
			i++
			continue
		}
		args = append(args, m.args[i])
	}
	return Quote(args)
}

// Reproduce returns the netstage command that boots the same again, with an
// HTTP server.
func (m *Machine) Reproduce() string { return Quote(reproduction(m.config)) }

// reproduction returns the command line of netstage boot for c. It does
// without what only programs can ask for: Wrap and back ends.
func reproduction(c Config) []string {
	args := []string{"netstage", "boot"}
	add := func(flag, value string) {
		if value != "" {
			args = append(args, flag, value)
		}
	}
	add("--kernel", c.Kernel)
	for _, initrd := range c.Initrds {
		add("--initrd", initrd)
	}
	add("--image", c.Image)
	add("--dir", c.Dir)
	add("--url", c.BootURL)
	add("--efi", c.EFI)
	add("--init", c.Init)
	add("--append", c.Append)
	for _, nic := range c.NICs {
		add("--nic", nic.Model)
	}
	if c.Memory != 0 {
		add("--memory", fmt.Sprint(c.Memory))
	}
	if c.CPUs != 0 {
		add("--cpus", fmt.Sprint(c.CPUs))
	}
	for _, drive := range c.Drives {
		add("--drive", drive)
	}
	for _, f := range c.Forwards {
		add("--forward", f.String())
	}
	for _, flag := range []struct {
		name string
		set  bool
	}{{"--unverified", c.Unverified}, {"--plain", c.Plain}, {"--direct", c.Direct}, {"--uefi", c.UEFI}, {"--secure-boot", c.SecureBoot}} {
		if flag.set {
			args = append(args, flag.name)
		}
	}
	extra := c.ExtraArgs
	if c.NoNIC {
		extra = append([]string{"-nic", "none"}, extra...)
	}
	if len(extra) > 0 {
		args = append(append(args, "--"), extra...)
	}
	return args
}

// explain adds to an error what is needed to find its cause.
func (m *Machine) explain(err error) error {
	return fmt.Errorf("%w\n--- end of the console ---\n%s\n--- reproduce: ---\n%s\n%s",
		err, m.console.Tail(25), m.Reproduce(), m.Command())
}
