package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"netstage/fetch/oci/peer"
)

// A manner is a command with what it reads and writes.
type manner struct {
	args   []string // OUT is the folder to write to, ROOT the image's root hash
	reads  []string // what it can't do without
	any    []string // of that, what may have any content
	full   string   // what it says of a full disk, unless that there is no space on it
	there  []string // what is in OUT before
	writes []string // what is in OUT then
	keeps  bool     // what is there is not replaced
}

// elsewhere says where the manners of commands are tested that have no end of
// their own.
var elsewhere = map[string]string{
	"serve": "serve.txtar, TestServeFromRegistry",
	"boot":  "TestBootTimeout, TestPackAndBoot",
}

// manners are those of every other command: what is true of all is tested of a
// new one, too.
func manners(registry, server string) map[string]manner {
	const init = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-hello/init"
	image := []string{"new.squashfs", "new.squashfs.roothash", "new.squashfs.sha256", "new.squashfs.verity"}
	return map[string]manner{
		"image": {args: []string{"image", "store", "-o", "OUT/new.squashfs", "--compression", "gzip"}, reads: []string{"store"}, writes: image},
		"initrd": {args: []string{"initrd", "--kernel-modules", "modules", "--init", "agent", "-o", "OUT/new"},
			reads: []string{"modules", "agent"}, any: []string{"agent"}, writes: []string{"new"}},
		"drivers": {args: []string{"drivers", "--kernel-modules", "modules", "hardware"}, reads: []string{"modules"}},
		"inspect": {args: []string{"inspect", "image.squashfs"}, reads: []string{"image.squashfs"}},
		"uki": {args: []string{"uki", "--kernel", "kernel", "--stub", "stub", "--uname", "6.12.1", "--initrd", "initrd", "--cmdline", "@cmdline", "-o", "OUT/new"},
			reads: []string{"kernel", "stub", "initrd", "cmdline"}, any: []string{"initrd", "cmdline", "kernel"}, writes: []string{"new"}},
		"predict": {args: []string{"predict", "--initrd", "initrd", "--cmdline", "@cmdline", "--init", init, "--roothash", "ROOT", "-o", "OUT/new"},
			reads: []string{"initrd", "cmdline"}, any: []string{"cmdline"}, writes: []string{"new"}},
		"scripts": {args: []string{"scripts", "OUT"}, there: []string{"bzImage", "initrd.zst", "cmdline"}, writes: []string{"boot.ipxe", "kexec-boot", "refind.conf"}},
		"report":  {args: []string{"report", "report.json"}, reads: []string{"report.json"}},
		"keygen":  {args: []string{"keygen", "--no-password", "-o", "OUT/new"}, writes: []string{"new.key", "new.pub"}, keeps: true},
		"passwd":  {args: []string{"passwd", "--password-file", "cmdline", "-o", "OUT/new"}, reads: []string{"cmdline"}, any: []string{"cmdline"}, writes: []string{"new"}, keeps: true},
		"hot":     {args: []string{"hot", "first.hot", "-o", "OUT/new"}, reads: []string{"first.hot"}, any: []string{"first.hot"}, writes: []string{"new"}},
		"keep":    {args: []string{"keep", "--file", "keep/keep.json", "--image", "kept", "--to", "OUT"}, reads: []string{"kept"}, full: "has no room", writes: []string{"netstage-images"}},
		"sign": {args: []string{"sign", "image.squashfs", "--init", init, "--key", "ops.key", "-o", "OUT/new"},
			reads: []string{"image.squashfs", "ops.key"}, writes: []string{"new", "new.minisig"}},
		"keylist": {args: []string{"keylist", "ops.pub", "--key", "ops.key", "-o", "OUT/new"}, reads: []string{"ops.pub", "ops.key"}, writes: []string{"new", "new.minisig"}},
		"verify":  {args: []string{"verify", "image.squashfs"}, reads: []string{"image.squashfs"}},
		"fetch": {args: []string{"fetch", server + "/image.squashfs", "--roothash", "ROOT", "--seed", "seed", "-o", "OUT/new"},
			reads: []string{"seed"}, any: []string{"seed"}, writes: []string{"new"}},
		"push": {args: []string{"push", "boot", registry + "/pushed:1"}, reads: []string{"boot"}},
		"pull": {args: []string{"pull", registry + "/web:1", "OUT"},
			writes: []string{"bzImage", "cmdline", "initrd.zst", "new.squashfs", "new.squashfs.roothash", "new.squashfs.sha256", "new.squashfs.verity"}},
		"storm":      {args: []string{"storm", server + "/image.squashfs", "--clients", "3"}},
		"completion": {args: []string{"completion", "bash"}},
		"man":        {args: []string{"man", "OUT"}, writes: []string{"netstage.1", "netstage-image.1"}},
		"version":    {args: []string{"version"}},
		"help":       {args: []string{"help"}},
	}
}

// TestManners has every command meet what goes wrong around it. It tries a
// sixteenth of all that, other parts for other commands; NETSTAGE_MANNERS=all,
// the whole.
func TestManners(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: some commands are run as nobody, on disks that are full")
	}
	b := newBench(t)
	registry := peer.Start(t, peer.Options{})
	web := httptest.NewServer(http.FileServer(http.Dir(filepath.Join(b.dir, "in"))))
	defer web.Close()
	place := "oci+http://" + registry.Host
	registryTool(t, "push", filepath.Join(b.dir, "in/boot"), place+"/web:1")
	table := manners(place, web.URL)
	for _, c := range newRoot(streams{}).Commands() {
		if _, ok := table[c.Name()]; !ok && elsewhere[c.Name()] == "" {
			t.Errorf("netstage %s is not in the table of manners", c.Name())
		}
	}
	for at, c := range newRoot(streams{}).Commands() {
		m, ok := table[c.Name()]
		if !ok {
			continue
		}
		t.Run(c.Name(), func(t *testing.T) {
			r := b.trial(t, m)
			r.run(t)
			r.whole(t)
			for i, x := range cases(m, r) {
				if (i+at)%16 == 0 || os.Getenv("NETSTAGE_MANNERS") == "all" {
					t.Run(x.name, func(t *testing.T) {
						r := b.trial(t, m)
						x.do(t, r)
					})
				}
			}
		})
	}
}

// A happening is one thing that goes wrong.
type happening struct {
	name string
	do   func(*testing.T, *trial)
}

// cases are all that may happen to a command, which went so when nothing did.
func cases(m manner, good *trial) []happening {
	all := slices.Concat(badInputs(m), badOutputs(m), badEnds(m, good), badHosts(m, good))
	slices.SortFunc(all, func(a, b happening) int { return strings.Compare(a.name, b.name) }) // the same sixteenth each time
	return all
}

func mustDo(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}
