package qemutests

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"netstage/cmd/netstage/vm"
	"netstage/fetch/faulty"
	"netstage/qemu-tests/nsmachine"
	"netstage/qemu-tests/system"
)

// A scenario is a boot as a test tells it: what the machine is given, what is
// around it, what happens, and how it ends. The ordinary is the zero value, so
// that a literal holds only what the test is about:
//
//	func TestFaultsAreSurvived(t *testing.T) {
//		scenario{
//			lan:     mirrored(faulty.Behaviour{Status: 503}),
//			cmdline: "rootfs={url} rootfs.sha256={sha256} init={init}",
//			shown:   []string{"503 Service Unavailable", "!boot failed"},
//		}.run(t)
//	}
//
// A table is a map of scenarios and a loop of t.Run(name, s.run). What a
// literal can't say is a function of its story, or of its check.
//
// Command line, files, DHCP options and texts may have words for what is known
// only once the network is there:
//
//	{url} {url2}          the image at the first and the second mirror
//	{dir} {addr} {port}   the first mirror's folder, address and port
//	{init}                the path of stage 2 in the image
//	{sha256} {roothash}   what vouches for the image
//	{image} {tree}        the files of the image and its verity tree, and of a
//	{manifest} {minisig}  manifest with its signature, by ops.pub; other.pub is
//	{ops.pub} {other.pub} a key that signed nothing
//	{NAME} {NAME.port}    the address and the port of another server of the network
type scenario struct {
	// The machine: the agent as it is built, the image classic and a boot in
	// namespaces, unless said otherwise.
	init     string            // path of another program in the agent's place
	image    system.Files      // toplevel of another image
	vouched  *vouched          // another image, packed already
	cmdline  string            // after the consoles
	files    map[string]string // of the initramfs: path → text
	copies   map[string]string // of the initramfs: path → file or folder here
	env      []string          // what the kernel gives to init
	watchdog string            // pipe here that is /dev/watchdog
	size     string            // of the initramfs, as tmpfs takes it
	kernel   string            // of setup/kernel.sh: QEMU boots it
	modules  []string          // in that kernel's initrd; virtio_net when nil
	qemu     vm.Config         // what more QEMU is told; Image and Init may be words

	// What is around it. Nil is a machine without a NIC.
	lan *network

	// What happens, in this order.
	story []step

	// How it ends, stage2 unless said otherwise, and what the console has shown
	// by then; after a "!" what it never shows.
	ends  ending
	shown []string
	kmsg  []string // likewise of the kernel log
	check func(*played)
}

// inInitrd are the copies of a machine whose image is in its initrd.
var inInitrd = map[string]string{"/nix-store.squashfs": "{image}"}

// An ending is how a machine ends, and what is shown then.
type ending struct {
	end   nsmachine.End
	shown []string
}

// The endings of machines.
var (
	stage2     = ending{nsmachine.PoweredOff, []string{"stage 2 done"}}
	poweredOff = ending{nsmachine.PoweredOff, nil} // by whatever
	rebooted   = ending{nsmachine.Rebooted, []string{"!stage 2: pid 1"}}
	panicked   = ending{nsmachine.Panicked, []string{"!stage 2: pid 1"}}
)

// refused is the reboot after a failure of the class; it takes
// boot.fail_timeout= or a key.
func refused(class string) ending {
	return ending{nsmachine.Rebooted, []string{"boot failed: " + class, "!stage 2: pid 1"}}
}

// played is a scenario under way.
type played struct {
	box
	t       *testing.T
	lan     *nsmachine.LAN
	image   vouched
	mirrors []*served
	others  map[string]string // addresses of the network's other servers, by their word
	words   *strings.Replacer
	machine *nsmachine.Machine // nil in QEMU
}

// A box is a machine, however it is run.
type box interface {
	expect(text string)
	send(keys string)
	wait() nsmachine.End
	console() string
}

// run plays the scenario as a test of its own, beside others.
func (s scenario) run(t *testing.T) {
	t.Parallel()
	s.play(t)
}

// play plays the scenario, and returns when its machine has ended.
func (s scenario) play(t *testing.T) *played {
	t.Helper()
	p := s.start(t)
	for _, step := range s.story {
		step(p)
	}
	p.expectEnd(s)
	return p
}

// start makes what is around the machine and switches it on.
func (s scenario) start(t *testing.T) *played {
	t.Helper()
	p := &played{t: t}
	if s.vouched != nil {
		p.image = *s.vouched
	} else {
		if s.image == nil {
			s.image = classic()
		}
		p.image = vouchOnce(t, s.image)
	}
	if s.lan != nil {
		s.lan.start(p, s.kernel != "")
	}
	p.words = p.vocabulary()
	if s.lan != nil && s.kernel == "" {
		s.lan.hello(p)
	}
	files := map[string]string{}
	for to, from := range s.copies {
		files[to] = p.words.Replace(from)
	}
	if len(s.files) > 0 {
		dir := t.TempDir()
		for i, to := range slices.Sorted(maps.Keys(s.files)) {
			from := filepath.Join(dir, string(rune('a'+i)))
			writeFile(t, from, p.words.Replace(s.files[to]))
			files[to] = from
		}
	}
	if s.kernel != "" {
		p.box = s.startQEMU(p, files)
		return p
	}
	if s.init == "" {
		s.init = build(t, agent)
	}
	var env []string
	for _, variable := range s.env {
		env = append(env, p.words.Replace(variable))
	}
	c := nsmachine.Config{Init: s.init, Files: files, Cmdline: "console=tty0 console=ttyS0,115200 " + p.words.Replace(s.cmdline), Env: env, Watchdog: s.watchdog, Size: s.size}
	if s.lan != nil {
		c.LAN, c.MAC, c.NoCarrier = p.lan, s.lan.mac, s.lan.noCarrier
	}
	p.machine = nsmachine.Start(t, c)
	p.box = inNamespaces{p.machine}
	return p
}

// expectEnd waits for the scenario's end and checks what is to hold then.
func (p *played) expectEnd(s scenario) {
	p.t.Helper()
	if s.ends.end == "" {
		s.ends = stage2
	}
	p.ends(s.ends, s.shown...)
	if len(s.kmsg) > 0 {
		p.compare("kernel log", p.machine.Kmsg.String(), s.kmsg)
	}
	if s.check != nil {
		s.check(p)
	}
}

// ends waits for an end, and checks what the console has shown by then.
func (p *played) ends(want ending, shown ...string) {
	p.t.Helper()
	if end := p.wait(); end != want.end {
		p.t.Errorf("the machine %s, want %s", end, want.end)
	}
	p.compare("console", p.console(), slices.Concat(want.shown, shown))
}

// compare checks what has been shown, and after a "!" what has not.
func (p *played) compare(where, shown string, texts []string) {
	p.t.Helper()
	for _, text := range texts {
		text, not := strings.CutPrefix(p.words.Replace(text), "!")
		switch found := strings.Contains(shown, text); {
		case not && found:
			p.t.Errorf("%q is on the %s", text, where)
		case !not && !found:
			p.t.Errorf("no %q on the %s", text, where)
		}
	}
}

// vocabulary are the words of a scenario's texts.
func (p *played) vocabulary() *strings.Replacer {
	v := p.image
	words := []string{
		"{init}", system.Init, "{sha256}", v.sha256, "{roothash}", v.root, "{image}", v.path,
		"{tree}", v.file("image.squashfs.verity"), "{manifest}", v.file("test.manifest"), "{minisig}", v.file("test.manifest.minisig"),
		"{ops.pub}", v.file("ops.pub"), "{other.pub}", v.file("other.pub"),
	}
	for name, address := range p.others {
		words = append(words, "{"+name+"}", address, "{"+name+".port}", address[strings.LastIndexByte(address, ':')+1:])
	}
	for i, m := range p.mirrors {
		n := ""
		if i > 0 {
			n = string(rune('1' + i))
		}
		words = append(words, "{url"+n+"}", m.dir+"/image.squashfs", "{dir"+n+"}", m.dir, "{addr"+n+"}", m.addr, "{port"+n+"}", m.port)
	}
	return strings.NewReplacer(words...)
}

// requests are those that the mirrors had, all of them.
func (p *played) requests() []faulty.Entry {
	var all []faulty.Entry
	for _, m := range p.mirrors {
		if m.server != nil {
			all = append(all, m.server.Log()...)
		}
	}
	return all
}

// read is a file's text.
func read(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
