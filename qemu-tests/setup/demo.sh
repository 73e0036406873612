#!/bin/sh
# demo.sh DIR: makes the small system that "make boot" boots. DIR then holds
# nix-store.squashfs, its digest beside it, and init, the path of its stage 2.
#
# The system is a Nix store without Nix: a static busybox, a file of random
# bytes so that there is something to download, and a toplevel whose classic
# init (a script) shows what it was given and switches the machine off.
set -eu

fail() {
	echo "demo.sh: $*" >&2
	exit 1
}

[ $# = 1 ] || fail "usage: demo.sh DIR"
here=$(cd "$(dirname "$0")" && pwd)
netstage=$here/../../bin/netstage
[ -x "$netstage" ] || fail "bin/netstage is not built: run make build"
busybox=/bin/busybox
[ -x $busybox ] || busybox=$(command -v busybox) || fail "busybox is missing: run deps.sh"

mkdir -p "$1"
out=$(cd "$1" && pwd)
# Nothing to do when all is younger than what it is made from.
if [ -s "$out/init" ] && [ -s "$out/nix-store.squashfs.sha256" ] &&
	[ "$out/init" -nt "$here/demo.sh" ] && [ "$out/init" -nt "$here/demo-init" ] && [ "$out/init" -nt $busybox ]; then
	exit 0
fi
rm -f "$out/init"
store=$(mktemp -d "$out/.store.XXXXXX")
trap 'rm -rf "$store"' EXIT
trap 'exit 1' INT TERM HUP

# path NAME prints a store path's name. Nix's base 32 has no e.
path() {
	echo "$(printf %s "$1" | sha256sum | cut -c 1-32 | tr e z)-$1"
}

box=$(path busybox-static)
mkdir -p "$store/$box/bin"
cp $busybox "$store/$box/bin/busybox"
chmod 755 "$store/$box/bin/busybox"
for applet in $($busybox --list); do
	[ "$applet" = busybox ] || ln -s busybox "$store/$box/bin/$applet"
done

payload=$(path payload)
mkdir "$store/$payload"
head -c 25165824 /dev/urandom >"$store/$payload/random"

toplevel=$(path nixos-system-demo-25.11)
mkdir "$store/$toplevel"
printf '25.11 (demo)' >"$store/$toplevel/nixos-version"
ln -s "/nix/store/$box" "$store/$toplevel/sw"
ln -s "/nix/store/$payload" "$store/$toplevel/payload"
sed "s|@busybox@|/nix/store/$box|g" "$here/demo-init" >"$store/$toplevel/init"
chmod 755 "$store/$toplevel/init"

for name in "$box" "$payload" "$toplevel"; do
	# nix-store --register-validity: path, deriver, number of references.
	printf '/nix/store/%s\n\n0\n' "$name"
done >"$store/nix-path-registration"

"$netstage" image "$store" --compression zstd:3 -o "$out/nix-store.squashfs" >/dev/null
echo "/nix/store/$toplevel/init" >"$out/init"
