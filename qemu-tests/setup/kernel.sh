#!/bin/sh
# kernel.sh NAME: unpacks one of Debian's kernels into build/kernels/NAME
# (boot/vmlinuz-VERSION and lib/modules/VERSION). Nothing is installed.
#
# NAME is a series, 6.1 or 6.12, for the small cloud kernel, or SERIES-full for
# the kernel with every driver (e1000, e1000e, 8139, igb, ...), or SERIES-arm64
# for the small one of another architecture, in build/kernels-arm64. Which version
# of the series it is decides Debian's meta package of the day. A kernel that is there already is left
# alone; remove its folder to get a newer one.
set -eu

fail() {
	echo "kernel.sh: $*" >&2
	exit 1
}

[ $# = 1 ] || fail "usage: kernel.sh 6.1|6.12|6.1-full|6.12-full|6.1-arm64"
name=$1
series=${name%-full}
series=${series%-arm64}
case $series in
[0-9]*.[0-9]*) ;;
*) fail "no kernel is called $name: give a series such as 6.1 or 6.12, with -full for all drivers, or -arm64" ;;
esac
case $name in
*-full) flavour=amd64 ;;
*-arm64) flavour=cloud-arm64 ;;
*) flavour=cloud-amd64 ;;
esac

kernels=$(cd "$(dirname "$0")/../.." && pwd)/build/kernels
[ "$flavour" != cloud-arm64 ] || kernels=$kernels-arm64 # what is in kernels is of one architecture
have() {
	[ -n "$(find "$kernels/$name/boot" -maxdepth 1 -name 'vmlinuz-*' 2>/dev/null)" ]
}
have && exit 0

# Of two runs at once, the second waits and finds the kernel there.
mkdir -p "$kernels"
exec 9>"$kernels/.lock"
flock 9
have && exit 0

# find_package prints the package of the series that a meta package names: its
# own (linux-image-6.12-cloud-amd64) or the release's (linux-image-cloud-amd64).
# shellcheck disable=SC2086
find_package() {
	for meta in "linux-image-$series-$flavour" "linux-image-$flavour"; do
		apt-cache $foreign depends "$meta" 2>/dev/null |
			sed -n "s/^ *Depends: \(linux-image-$series\.[^ ]*-$flavour\)\$/\1/p"
	done | head -n 1
}

work=$(mktemp -d "$kernels/.$name.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP

# Packages of another architecture have lists of their own; this machine's are
# left as they are.
foreign=
case $name in
*-arm64)
	mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
	foreign="-o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State::lists=$work/lists -o Dir::Cache=$work/cache"
	;;
esac

# shellcheck disable=SC2086 # $foreign is words on purpose
download() {
	package=$(find_package)
	[ -n "$package" ] || return 1
	(cd "$work" && apt-get -q -o APT::Sandbox::User=root $foreign download "$package" >"$work/log" 2>&1)
}
# Package lists may be missing, or name a version that is gone by now.
if ! download; then
	apt-get -q -o APT::Sandbox::User=root $foreign update >"$work/log" 2>&1 || {
		cat "$work/log" >&2
		fail "apt-get update failed"
	}
	download || {
		[ -n "$package" ] || fail "this Debian has no $flavour kernel of the $series series"
		cat "$work/log" >&2
		fail "apt-get could not download $package"
	}
fi
echo "kernel.sh: unpacking $package" >&2
dpkg -x "$work"/*.deb "$work/root"

# A merged /usr has the modules at usr/lib; everything here expects lib.
[ -e "$work/root/lib/modules" ] || mv "$work/root/usr/lib" "$work/root/lib"
rm -rf "$work/root/usr/share" "${kernels:?}/$name"
mv "$work/root" "$kernels/$name"
