// Package system makes small systems to boot: nix stores with a toplevel
// whose programs are a static busybox and scripts for it.
package system

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Store paths of the systems, inside the image.
const (
	Busybox  = "/nix/store/0b5ybsybsybsybsybsybsybsybsybsyb-busybox-static"
	Toplevel = "/nix/store/0sys0sys0sys0sys0sys0sys0sys0sys-nixos-system-test-25.05"
	Shell    = Busybox + "/bin/sh"
	Init     = Toplevel + "/init"
)

// Tell is a script that prints what stage 2 finds, line by line, for tests.
const Tell = `
echo "stage 2: pid $$ args $# environment $(tr '\0' ' ' < /proc/1/environ)"
echo "stage 2: version $(cat ` + Toplevel + `/nixos-version 2>&1)"
while read -r source target type options rest; do
	echo "mount: $target $type $source $options"
done < /proc/self/mounts
for link in /sys/class/net/*; do
	echo "link: ${link##*/} $(cat $link/operstate) $(ip -o addr show dev ${link##*/} | tr -s ' ')"
done
for file in /proc/[0-9]*/cmdline; do
	echo "process: $(tr '\0' ' ' < $file 2>&1)"
done
for fd in 0 1 2; do echo "fd $fd: $(readlink /proc/1/fd/$fd)"; done
ls -a / | sed 's/^/entry: /'
echo "written" > /nix/store/.proof && echo "store: writable"
echo "modprobe: $(cat /proc/sys/kernel/modprobe 2>/dev/null)"
sed 's/^/report: /' /run/netstage/boot.json
sed 's/^/download: /' /run/netstage/image.json
echo "stage 2 done"
`

// PowerOff ends the machine.
const PowerOff = "\npoweroff -f\n"

// Script makes a busybox script.
func Script(body string) string {
	return "#!" + Shell + "\nexport PATH=" + Busybox + "/bin\n" + body
}

// Files are the files of an image by their path; those below a bin
// directory, and those that begin with "#!", are executable.
type Files map[string]string

// Store is a store image's tree: busybox and a toplevel with the given files,
// which are named relative to it.
func Store(toplevel Files) (Files, error) {
	files, err := busybox(strings.TrimPrefix(Busybox, "/nix/store"))
	if err != nil {
		return nil, err
	}
	for name, text := range toplevel {
		files[filepath.Join(strings.TrimPrefix(Toplevel, "/nix/store"), name)] = text
	}
	return files, nil
}

// Root is a whole root's tree, with busybox in /bin.
func Root(more Files) (Files, error) {
	files, err := busybox("")
	if err != nil {
		return nil, err
	}
	for name, text := range more {
		files[name] = text
	}
	for _, dir := range []string{"proc", "sys", "dev", "run", "tmp"} {
		files[dir+"/.keep"] = ""
	}
	return files, nil
}

// busybox puts a static busybox and links to it below dir.
func busybox(dir string) (Files, error) {
	const path = "/bin/busybox"
	program, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w (Debian has it in busybox-static)", err)
	}
	files := Files{dir + "/bin/busybox": string(program)}
	for name := range strings.FieldsSeq("sh cat ls sed tr ip readlink poweroff reboot sleep mount umount grep dmesg free wc head tail ps kill mkdir touch sha256sum") {
		files[dir+"/bin/"+name] = "->busybox"
	}
	return files, nil
}

// Write makes the files below dir. A text that begins with "->" is a link.
func (f Files) Write(dir string) error {
	for name, text := range f {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if target, ok := strings.CutPrefix(text, "->"); ok {
			if err := os.Symlink(target, file); err != nil {
				return err
			}
			continue
		}
		mode := os.FileMode(0o444)
		if strings.HasPrefix(text, "#!") || filepath.Base(filepath.Dir(name)) == "bin" {
			mode = 0o555
		}
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			return err
		}
	}
	return nil
}
