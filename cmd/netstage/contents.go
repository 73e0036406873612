package main

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"netstage/cmd/netstage/internal/inspect"
	"netstage/debug/sshd"
	"netstage/fetch/manifest"
	"netstage/fetch/oci"
	"netstage/stage1/cmdline"
	"netstage/stage1/modindex"
	"netstage/stage1/password"
	"netstage/stage1/report"
)

// lines are a name and a text each, for people and for grep.
type lines struct{ w io.Writer }

func (l lines) add(name, format string, a ...any) {
	fmt.Fprintf(l.w, "  %-11s %s\n", name, fmt.Sprintf(format, a...))
}

// words is add for many of them, on lines of 80 columns.
func (l lines) words(name string, words []string) {
	line := ""
	for _, word := range words {
		if line != "" && len(line)+len(word) > 64 {
			l.add(name, "%s", line)
			name, line = "", ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	if line != "" {
		l.add(name, "%s", line)
	}
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// describeContents tells what is in an initrd. No secret is in it.
func describeContents(w io.Writer, i *inspect.Initrd) {
	l := lines{w}
	l.add("size", "%.2f MiB, %.2f MiB unpacked; %s", mib(i.Size), mib(i.Unpacked), strings.Join(i.Archives, ", then "))
	if early := i.Below("/kernel"); len(early) > 0 {
		where := "first and not compressed, where the kernel looks"
		if i.Archives[0] != "cpio" {
			where = "of no use: the kernel looks only before what is compressed (--prepend)"
		}
		l.add("early", "%s; %s", strings.Join(early, ", "), where)
	}
	l.add("agent", "%s", describeAgent(i.Agent))
	switch len(i.Kernels) {
	case 0:
		l.add("kernel", "any: there are no modules")
	case 1:
		l.add("kernel", "%s", i.Kernels[0])
	default:
		l.add("kernel", "%s: the modules of one alone are of use", strings.Join(i.Kernels, " and "))
	}
	if len(i.Modules) > 0 {
		l.add("modules", "%d, and %s of firmware", len(i.Modules), count(i.Firmware, "file"))
		l.words("", i.Modules)
	}
	for _, version := range i.Kernels {
		if text, ok := i.Text("/lib/modules/" + version + "/" + modindex.UnpackedFile); ok {
			drivers := map[string]bool{}
			for line := range strings.Lines(string(text)) {
				if f := strings.Fields(line); len(f) == 3 {
					drivers[f[2]] = true
				}
			}
			l.add("left out", "%s of network cards that this kernel has", count(len(drivers), "driver"))
		}
	}
	describeDecisions(l, i)
	for _, image := range i.Images {
		l.add("image", "%s, %s, %.2f MiB, sha256 %s", image.Name, image.Kind, mib(image.Size), image.SHA256)
	}
}

func describeAgent(a inspect.Agent) string {
	if !a.Stage1 {
		return "no stage1; /init: " + a.What
	}
	version := a.Version
	if version == "" {
		version = "of unknown version"
	}
	return fmt.Sprintf("stage1 %s, linux/%s, %s", version, a.Arch, a.Go)
}

// describeDecisions tells what /etc/netstage holds: what the initrd decides for
// its machines.
func describeDecisions(l lines, i *inspect.Initrd) {
	const dir = "/etc/netstage"
	known := map[string]func(text []byte) string{
		"/cmdline": func(text []byte) string {
			words, _ := report.Parameters(cmdline.Parse(string(text)))
			return "parameters " + strings.Join(words, " ")
		},
		"/policy.json": func(text []byte) string { return "policy " + strings.Join(strings.Fields(string(text)), " ") },
		"/shell-password": func(text []byte) string {
			if _, err := password.Parse(text); err != nil {
				return "not understood, so no shell: " + err.Error()
			}
			return "shells on consoles ask for the password with this hash"
		},
		strings.TrimPrefix(registryFile, dir): func(text []byte) string {
			logins, err := oci.ParseCredentials(text)
			if err != nil {
				return "not understood, so no boot: " + err.Error()
			}
			return "logins for " + strings.Join(logins.Places(), ", ")
		},
		"/ca.pem": func(text []byte) string {
			return count(bytes.Count(text, []byte("-----BEGIN CERTIFICATE-----")), "certificate") + " of the only authorities for https"
		},
		"/authorized_keys": func(text []byte) string {
			host, _ := i.Text(dir + "/ssh_host_ed25519_key")
			keys, err := sshd.ParseKeys(host, text)
			if err != nil {
				return "not understood, so no ssh: " + err.Error()
			}
			return count(keys.Len(), "key") + " for boot.ssh; the host key is " + keys.Fingerprint()
		},
		"/ssh_host_ed25519_key": func([]byte) string { return "the machines' own key for ssh" },
		"/fstab":                func(text []byte) string { return count(tableLines(text), "file system") },
	}
	for _, name := range i.Below(dir) {
		text, ok := i.Text(name)
		if !ok {
			l.add("decides", "%s: no regular file, or too large", name)
			continue
		}
		rest := strings.TrimPrefix(name, dir)
		switch tell := known[rest]; {
		case tell != nil:
			l.add("decides", "%s: %s", name, tell(text))
		case filepath.Dir(rest) == "/trusted.d" && filepath.Ext(rest) == ".pub":
			l.add("decides", "%s: %s", name, describeKey(filepath.Base(name), text))
		default:
			l.add("decides", "%s: %d bytes", name, len(text))
		}
	}
}

func describeKey(name string, text []byte) string {
	key, err := manifest.ParseKey(name, text)
	if err != nil {
		return err.Error()
	}
	return "images must be signed; trusted key " + key.ID()
}

// tableLines counts the lines of an fstab that are not comments.
func tableLines(text []byte) int {
	n := 0
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			n++
		}
	}
	return n
}

func listFiles(w io.Writer, i *inspect.Initrd) {
	fmt.Fprintln(w, "files, with mode and bytes:")
	for _, f := range i.Files {
		fmt.Fprintf(w, "  %06o %10d %s\n", f.Mode, f.Size, f.Name)
	}
}
