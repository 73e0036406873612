package netboot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"netstage/cmd/netstage/internal/output"
)

// WriteScripts writes scripts that boot what the folder dir holds, found as a
// Server would: boot.ipxe for any web or TFTP server, refind.conf to be
// included by rEFInd's, and kexec-boot, to be run on a machine that is up. With
// verify iPXE starts only what is signed, each file by FILE.sig. It returns
// their names, and what machines will lack.
func WriteScripts(ctx context.Context, dir string, verify bool) (names, warnings []string, err error) {
	if info, err := os.Stat(dir); err != nil {
		return nil, nil, err
	} else if !info.IsDir() {
		return nil, nil, fmt.Errorf("%s is no folder", dir)
	}
	b, err := plan(os.DirFS(dir), "")
	if err != nil {
		return nil, nil, err
	}
	if err := checkCmdline(b.Cmdline); err != nil {
		return nil, nil, err
	}
	warnings = b.Warnings()
	warning, err := checkLength(b.Arguments("aa-bb-cc-dd-ee-ff"))
	if err != nil {
		return nil, nil, err
	} else if warning != "" {
		warnings = append(warnings, warning)
	}
	if verify {
		if err := checkSigned(dir, append([]string{b.Kernel}, b.Initrds...)); err != nil {
			return nil, nil, err
		}
	}
	b.Verify = verify
	scripts := []struct {
		name, text string
		mode       os.FileMode
	}{
		{"boot.ipxe", staticScript(b), 0o644},
		{"refind.conf", refind(b), 0o644},
		{"kexec-boot", kexec(b), 0o755},
	}
	var all output.Set
	for _, s := range scripts {
		if err := all.Add(ctx, filepath.Join(dir, s.name), s.mode, output.Of([]byte(s.text))); err != nil {
			return nil, nil, errors.Join(err, all.Close())
		}
		names = append(names, s.name)
	}
	return names, warnings, errors.Join(all.Commit(), all.Close())
}

// checkSigned refuses files that iPXE would not start.
func checkSigned(dir string, names []string) error {
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(dir, name+signature)); err != nil {
			return fmt.Errorf("%w: sign it by a code-signing certificate that this iPXE trusts: openssl cms -sign -binary -noattr -in %s -signer CERT -inkey KEY -outform DER -out %[2]s%s",
				err, name, signature)
		}
	}
	return nil
}

// staticHead begins every boot.ipxe of WriteScripts.
const staticHead = "#!ipxe\n# Written by netstage scripts.\n"

// staticScript names everything relative to itself. A script that embeds it may
// set cmdline to more parameters, as with nixpkgs' netboot.ipxe.
//
// A DHCP server tells clients apart: what it answers iPXE it may not answer the
// agent. So iPXE hands over where it found the script. One that does not know,
// as Debian's of 2019, has the name of the boot file by DHCP; of one that is no
// URL the agent makes nothing.
func staticScript(b Boot) string {
	b.Base = "${here}"
	return staticHead + "\n" + staticHere + scriptBoot(b, "", " ${cmdline}")
}

const staticHere = "isset ${cwduri} && set here ${cwduri} || set here ${filename}/..\n"

// bare is the command line without initrd=, which each loader says in its own
// way.
func bare(b Boot) string {
	b.Initrds = nil
	return b.Arguments("")
}

// refind is a stanza of rEFInd's configuration (its documentation: Creating
// Manual Boot Stanzas).
func refind(b Boot) string {
	var s strings.Builder
	s.WriteString(`# Written by netstage scripts. Copy kernel and initrd to EFI/netstage of the volume, and this file beside
# refind.conf, which is to say: include netstage.conf
`)
	if b.Image != "" {
		s.WriteString("# The image is fetched: from the folder of the boot file that DHCP names. If it names none, make rootfs= of the file cmdline a URL of that image, and write the scripts anew.\n")
	}
	options := bare(b)
	var more []string // rEFInd loads one initrd itself
	for _, initrd := range b.Initrds[1:] {
		more = append(more, `initrd=\EFI\netstage\`+initrd)
	}
	options = strings.Join(append(more, options), " ")
	fmt.Fprintf(&s, "menuentry \"netstage\" {\n\tloader /EFI/netstage/%s\n\tinitrd /EFI/netstage/%s\n\toptions \"%s\"\n}\n",
		b.Kernel, b.Initrds[0], strings.ReplaceAll(options, `"`, `""`))
	return s.String()
}

// kexec is a shell script. It puts an image that lies beside it into the
// initrd: the machine need not find a server. The archive's header is so simple
// (cpio(5), new ASCII format) that no cpio program is needed.
func kexec(b Boot) string {
	command := strings.TrimPrefix(bare(b), "rootfs="+basename(b.Image)+" ")
	replace := strings.NewReplacer("@kernel@", b.Kernel, "@initrds@", strings.Join(b.Initrds, " "), "@image@", b.Image,
		"@command@", strings.ReplaceAll(command, "'", `'\''`))
	return replace.Replace(kexecScript)
}

const kexecScript = `#!/bin/sh
# Written by netstage scripts. Boots what lies beside this script, by kexec:
# kexec-boot [MORE KERNEL PARAMETERS]; --load only loads it.
set -eu
fail() { echo "kexec-boot: $*" >&2; exit 1; }
command -v kexec >/dev/null || fail "kexec is not installed (kexec-tools)"
cd "$(dirname "$(readlink -f "$0")")"
go=1
if [ "${1-}" = --load ]; then go=; shift; fi

# record NAME SIZE: a header of a cpio archive, up to the file's content.
record() {
	printf '070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\0' 1 33060 0 0 1 0 "$2" 0 0 0 0 $((${#1} + 1)) 0 "$1"
	pad $((110 + ${#1} + 1))
}
pad() { head -c $((-$1 & 3)) /dev/zero; }

initrd=$(mktemp "${TMPDIR:-/tmp}/netstage-initrd.XXXXXX")
trap 'rm -f "$initrd"' EXIT
trap 'exit 1' INT TERM HUP
for part in @initrds@; do
	cat "$part"
	pad "$(stat -Lc %s "$part")"
done >"$initrd"
image='@image@'
if [ -n "$image" ]; then
	total=$(($(stat -c %s "$initrd") + $(stat -Lc %s "$image")))
	[ $total -lt 2147000000 ] || fail "initrd and image together have $((total >> 20)) MiB: no kernel loads 2048 MiB (nixpkgs#203593); give rootfs=URL of $image in the file cmdline, and write the scripts anew"
	for suffix in '' .verity; do
		[ -f "$image$suffix" ] || continue
		size=$(stat -Lc %s "$image$suffix")
		record "nix-store.squashfs$suffix" "$size"
		cat "$image$suffix"
		pad "$size"
	done >>"$initrd"
	record 'TRAILER!!!' 0 >>"$initrd"
fi
kexec --load '@kernel@' --initrd="$initrd" --command-line='@command@'"${*:+ $*}"
[ -n "$go" ] || exit 0
sync
# An init that knows how stops its services first.
if command -v systemctl >/dev/null && [ -d /run/systemd/system ]; then exec systemctl kexec; fi
exec kexec --exec
`
