package qemutests

import (
	"context"
	"errors"
	"syscall"
	"time"

	"netstage/cmd/netstage/initrd"
	"netstage/cmd/netstage/vm"
	"netstage/qemu-tests/nsmachine"
)

// A step is something that happens to a machine, or is waited for.
type step func(*played)

// shows waits until the console shows the texts, one after the other.
func shows(texts ...string) step {
	return func(p *played) {
		p.t.Helper()
		for _, text := range texts {
			p.expect(p.words.Replace(text))
		}
	}
}

// What an operator waits for before he types.
var (
	prompt = shows("leaves it") // a shell
	menu   = shows("Keys: ")    // of a failure
)

// types sends keys to the console.
func types(keys string) step {
	return func(p *played) {
		p.t.Helper()
		p.send(p.words.Replace(keys))
	}
}

// signals sends one to the process that does the boot's work.
func signals(signal syscall.Signal) step {
	return func(p *played) {
		p.t.Helper()
		if err := syscall.Kill(childNamed(p.t, p.machine.Pid(), "boot"), signal); err != nil {
			p.t.Fatal(err)
		}
	}
}

// dhcp has a DHCP server come up.
func dhcp(options ...string) step {
	return func(p *played) {
		p.t.Helper()
		p.lan.DHCP(p.t, options...)
	}
}

// cable puts the NIC's cable in, or takes it out.
func cable(in bool) step {
	return func(p *played) {
		p.t.Helper()
		p.lan.Cable(p.t, in)
	}
}

// opens has the mirrors serve that are late.
func opens(p *played) {
	p.t.Helper()
	for _, m := range p.mirrors {
		if m.server == nil {
			p.open(m, p.listen(m.listen))
		}
	}
}

// plugs makes a disk appear, as long as the test runs.
func plugs(disk string) step {
	return func(p *played) {
		p.t.Helper()
		plug(p.t, disk)
	}
}

// inNamespaces is a machine of nsmachine.
type inNamespaces struct{ *nsmachine.Machine }

func (m inNamespaces) expect(text string)  { m.Machine.Expect(text) }
func (m inNamespaces) send(keys string)    { m.Machine.Type(keys) }
func (m inNamespaces) wait() nsmachine.End { return m.Machine.End() }
func (m inNamespaces) console() string     { return m.Machine.Console.String() }

// inQEMU is a machine of the tool's.
type inQEMU struct{ running }

func (m inQEMU) console() string { return m.Console() }

func (m inQEMU) wait() nsmachine.End {
	m.t.Helper()
	end, err := m.Wait(m.ctx)
	if err != nil {
		m.t.Fatal(err)
	}
	switch end {
	case vm.PowerOff:
		return nsmachine.PoweredOff
	case vm.Reset:
		return nsmachine.Rebooted
	case vm.Panic:
		return nsmachine.Panicked
	}
	return nsmachine.End(end)
}

// startQEMU boots a real kernel, loaded by QEMU itself unless said otherwise.
func (s scenario) startQEMU(p *played, files map[string]string) box {
	p.t.Helper()
	if s.modules == nil {
		s.modules = []string{"virtio_net"}
	}
	o := initrd.Options{Modules: s.modules, Init: s.init}
	for to, from := range files {
		o.Files = append(o.Files, initrd.File{Source: from, Target: to})
	}
	made, c := guestOf(p.t, s.kernel, o), s.qemu
	c.Kernel, c.Initrds = made.Kernel, append(made.Initrds, c.Initrds...)
	if c.Memory == 0 {
		c.Memory = made.Memory
	}
	c.Image, c.Init = p.words.Replace(c.Image), p.words.Replace(c.Init)
	c.Append = p.words.Replace(s.cmdline)
	return inQEMU{start(p.t, c)}
}

// qmp is a command of QEMU's.
func qmp(command string, arguments map[string]any) step {
	return func(p *played) {
		p.t.Helper()
		ctx, cancel := context.WithTimeoutCause(context.Background(), time.Minute, errors.New("no answer within a minute"))
		defer cancel()
		if _, err := p.box.(inQEMU).QMP(ctx, command, arguments); err != nil {
			p.t.Fatal(err)
		}
	}
}
