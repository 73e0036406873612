// Package measure says what a boot extends the TPM by, and keeps the logs of
// it. The tool computes from it what a machine has to end up with.
package measure

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"netstage/stage1/cmdline"
)

// PCR is the register that all is extended into. Those that systemd and its
// stub have in use, 11 to 13 and 15, are left to them; 8 is for a boot loader's
// command line (UAPI group, Linux TPM PCR Registry), and GRUB's where GRUB
// starts the machine: its measurements come first then.
const PCR = 8

// An Event is what one measurement is about. Its text is what is hashed, and
// what the log has: it is proof of itself.
type Event string

// Folder is what of the initrd decides.
const Folder = "etc/netstage"

// Policy is what the initrd decides, by the files of its folder.
func Policy(initrd fs.FS) (Event, error) {
	files := map[string][]byte{}
	err := fs.WalkDir(initrd, Folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files[strings.TrimPrefix(name, Folder+"/")], err = fs.ReadFile(initrd, name)
		return err
	})
	if _, missing := fs.Stat(initrd, Folder); err != nil && !errors.Is(missing, fs.ErrNotExist) {
		return "", fmt.Errorf("measure the initrd's policy: %w", err)
	}
	return PolicyOf(files), nil
}

// PolicyOf is what the initrd decides: the digest of each file, by its name in
// the folder.
func PolicyOf(files map[string][]byte) Event {
	text := "netstage-policy\n"
	for _, name := range slices.Sorted(maps.Keys(files)) {
		text += fmt.Sprintf("%x %s\n", sha256.Sum256(files[name]), name)
	}
	return Event(text)
}

// machines are parameters that boot loaders add, and that say which machine it
// is and not what it boots.
var machines = []string{"BOOTIF", "SYSUUID"}

// Cmdline is the kernel command line, but for what tells machines apart.
func Cmdline(line string) Event {
	var words []string
	for _, p := range cmdline.Parse(strings.TrimSuffix(line, "\n")) {
		if slices.Contains(machines, p.Key) {
			continue
		}
		word := p.Key
		if p.HasValue {
			word = fmt.Sprintf("%s=%q", p.Key, p.Value)
		}
		words = append(words, word+"\n")
	}
	return Event("netstage-cmdline\n" + strings.Join(words, ""))
}

// An Image is what was verified.
type Image struct {
	Manifest, RootHash, SHA256 []byte // digests; nil: there is none
	Init                       string
}

// Event is the strongest of what vouches for the image, and the init.
func (i Image) Event() Event {
	what := "unverified"
	switch {
	case i.Manifest != nil:
		what = fmt.Sprintf("manifest %x", i.Manifest)
	case i.RootHash != nil:
		what = fmt.Sprintf("roothash %x", i.RootHash)
	case i.SHA256 != nil:
		what = fmt.Sprintf("sha256 %x", i.SHA256)
	}
	return Event("netstage-image\n" + what + "\ninit " + path.Clean(i.Init) + "\n")
}

// Title is the first line of the event's text.
func (e Event) Title() string {
	title, _, _ := strings.Cut(string(e), "\n")
	return title
}

// Extended is what a PCR of SHA-256 becomes.
func Extended(pcr [32]byte, events ...Event) [32]byte {
	for _, e := range events {
		digest := sha256.Sum256([]byte(e))
		pcr = sha256.Sum256(slices.Concat(pcr[:], digest[:]))
	}
	return pcr
}
