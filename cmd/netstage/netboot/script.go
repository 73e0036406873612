package netboot

import (
	"fmt"
	"slices"
	"strings"
)

// Boot is what a machine is to boot. Names are URLs relative to the server's
// root, without the leading slash.
type Boot struct {
	Kernel  string
	Initrds []string // loaded in this order
	// Image is the name of the system image; "" when an initrd holds it.
	Image string
	// SHA256 is the digest in hex of Image, or where that is "" of the image
	// that Cmdline's rootfs= names; "" when there is none.
	SHA256 string
	// RootHash is the root in hex of the image's verity tree, which is beside
	// it with .verity appended; "" when there is none.
	RootHash string
	// Cmdline is the operator's part of the kernel's command line. Its rootfs=
	// replaces Image, and its rootfs.manifest= SHA256 and RootHash, too.
	Cmdline string
	// Root is the path on the server that names are below; "" is "/".
	Root string
	// Base is the absolute URL that Image is relative to, with a slash at the
	// end. "" leaves it to the agent to find it.
	Base string
	// Report is the URL that the machine sends reports to; "" for none, or
	// Cmdline's own boot.report=.
	Report string
	// Plain makes initrd= and Cmdline the whole command line.
	Plain bool
	// Verify has iPXE start nothing but what is signed.
	Verify bool
	// Note is put into the script as a comment.
	Note string
}

// signature is what the name of a signature for iPXE has after its file's.
const signature = ".sig"

// waits are the pauses between attempts, in seconds; then the machine reboots.
var waits = []int{1, 2, 4, 8, 15, 30}

// Arguments returns the kernel's command line for b. mac is put behind
// "BOOTIF=01-"; "" leaves BOOTIF out.
func (b Boot) Arguments(mac string) string {
	var args []string
	for _, initrd := range b.Initrds {
		// The kernel's EFI stub looks each up by its name; BIOS ignores it.
		args = append(args, "initrd="+basename(initrd))
	}
	if b.Plain {
		return strings.Join(append(args, strings.Fields(b.Cmdline)...), " ")
	}
	own := parameters(b.Cmdline)
	if b.Image != "" && !own["rootfs"] && !own["rootfs.manifest"] {
		args = append(args, "rootfs="+basename(b.Image))
	}
	if (b.Image != "") != own["rootfs"] && !own["rootfs.manifest"] {
		// One of them is enough, and hashing twice costs slow machines time.
		// The root hash finds a wrong byte at its block, and lets a download go
		// on elsewhere from there. It goes by this name because systemd in
		// stage 2 takes roothash= for its own and waits for partitions.
		switch {
		case own["rootfs.sha256"] || own["rootfs.roothash"] || own["roothash"]:
		case b.RootHash != "":
			args = append(args, "rootfs.roothash="+b.RootHash)
		case b.SHA256 != "":
			args = append(args, "rootfs.sha256="+b.SHA256)
		}
	}
	if b.Base != "" && !own["rootfs.base"] && (b.Image != "" || own["rootfs"] || own["rootfs.manifest"]) {
		args = append(args, "rootfs.base="+b.Base)
	}
	if b.Report != "" && !own["boot.report"] {
		args = append(args, "boot.report="+b.Report)
	}
	if mac != "" && !own["BOOTIF"] {
		args = append(args, "BOOTIF=01-"+mac)
	}
	return strings.Join(append(args, strings.Fields(b.Cmdline)...), " ")
}

// Warnings say what a machine will lack that boots b.
func (b Boot) Warnings() []string {
	var all []string
	line := parameters(b.Arguments(""))
	if line["rootfs"] && !vouches(b.Arguments("")) {
		all = append(all, "nothing vouches for the image: there is no .roothash with .verity, no .sha256 and no rootfs.manifest=, unless the initrd has them")
	}
	if !line["init"] && !line["rootfs.manifest"] {
		all = append(all, "the file cmdline has no init=: machines look for /init in the image, unless the initrd has it")
	}
	return all
}

// Script returns the iPXE script that boots b. It tries again, later and later,
// when a download fails, and reboots the machine in the end: nobody may be
// there to press a key. It uses what iPXE of 2019 knows.
func Script(b Boot) string {
	root := b.Root
	if root == "" {
		root = "/"
	}
	return scriptHead(b.Note) + scriptBoot(b, root, "")
}

// scriptBoot loads and boots b, whose files are found below root, with more
// parameters at the end.
func scriptBoot(b Boot, root, more string) string {
	var s strings.Builder
	if b.Verify {
		s.WriteString("imgtrust --permanent\n")
	}
	verify := func(name string) {
		if b.Verify {
			fmt.Fprintf(&s, "imgverify %s %s%s%s || goto failed\n", basename(name), root, name, signature)
		}
	}
	s.WriteString("set tries:int32 0\n\n:try\nimgfree\n")
	fmt.Fprintf(&s, "kernel %s%s %s%s || goto failed\n", root, b.Kernel, b.Arguments("${netX/mac:hexhyp}"), more)
	verify(b.Kernel)
	for _, initrd := range b.Initrds {
		fmt.Fprintf(&s, "initrd %s%s || goto failed\n", root, initrd)
		verify(initrd)
	}
	s.WriteString("boot || goto failed\n\n")
	s.WriteString(scriptRetry("could not load what to boot"))
	return s.String()
}

// ChainScript returns the first script of a machine: it asks the server for
// the one made for the machine's MAC address.
func ChainScript(note, root string) string {
	return scriptHead(note) +
		"set tries:int32 0\n\n:try\n" +
		"chain " + root + "boot.ipxe?mac=${netX/mac:hexhyp} || goto failed\n\n" +
		scriptRetry("could not load the boot script of this machine")
}

// ProblemScript returns a script that shows why a machine can't be booted,
// for long enough to be read, and reboots it to try again.
func ProblemScript(problem string) string {
	return scriptHead("") + fmt.Sprintf("echo netstage: %s\necho netstage: rebooting in a minute\nsleep 60\nreboot\n",
		printable(problem))
}

func scriptHead(note string) string {
	head := "#!ipxe\n# Written by netstage serve.\n"
	if note != "" {
		head += "# " + printable(note) + "\n"
	}
	return head + "\n"
}

// scriptRetry is the part after the label "failed": pause and go to "try".
func scriptRetry(problem string) string {
	var s strings.Builder
	fmt.Fprintf(&s, ":failed\ninc tries\necho netstage: %s, attempt ${tries} of %d\n", problem, len(waits)+1)
	for i, wait := range waits {
		// Ctrl-C ends a pause early; that is no reason to give up.
		fmt.Fprintf(&s, "iseq ${tries} %d && goto wait%d ||\n", i+1, wait)
	}
	s.WriteString("echo netstage: rebooting\nsleep 5\nreboot\nexit 1\n")
	for _, wait := range waits {
		fmt.Fprintf(&s, "\n:wait%d\nsleep %d ||\ngoto try\n", wait, wait)
	}
	return s.String()
}

// checkCmdline refuses what iPXE would not pass on as it is.
func checkCmdline(cmdline string) error {
	for _, word := range strings.Fields(cmdline) {
		if word == "||" || word == "&&" || strings.HasPrefix(word, "#") {
			return fmt.Errorf("iPXE can't pass the kernel parameter %q", word)
		}
		for _, c := range []byte(word) {
			if c < ' ' || c == 0x7f {
				return fmt.Errorf("the kernel parameter %q holds a control character", word)
			}
		}
	}
	return nil
}

// namesDigest tells whether a rootfs= is an artifact's digest in a registry,
// which vouches for the image.
func namesDigest(cmdline string) bool {
	return slices.ContainsFunc(strings.Fields(cmdline), func(word string) bool {
		return strings.HasPrefix(word, "rootfs=oci") && strings.Contains(word, "@sha256:")
	})
}

// Names tells whether a command line has a parameter.
func Names(cmdline, parameter string) bool { return parameters(cmdline)[parameter] }

// parameters returns the names of the parameters on a command line.
func parameters(cmdline string) map[string]bool {
	names := make(map[string]bool)
	for _, word := range strings.Fields(cmdline) {
		name, _, _ := strings.Cut(word, "=")
		names[name] = true
	}
	return names
}

func basename(name string) string {
	return name[strings.LastIndexByte(name, '/')+1:]
}

// printable makes s one line that iPXE shows as it is.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '$' {
			return '?'
		}
		return r
	}, s)
}
