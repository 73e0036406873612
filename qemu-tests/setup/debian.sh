#!/bin/sh
# Makes a small Debian with systemd in build/debian, for the tests that boot a
# real stage 2. It takes a minute and is done once.
#
# usage: debian.sh [DIR]
set -eu

dir=${1:-$(dirname "$0")/../../build/debian}
[ -e "$dir/etc/os-release" ] && exit 0

if [ "$(id -u)" != 0 ]; then
	echo "debian.sh: mmdebstrap has to run as root here" >&2
	exit 1
fi
echo "debian.sh: making a Debian with systemd in $dir" >&2
mkdir -p "$(dirname "$dir")"
new=$(mktemp -d "$dir.XXXXXX")
trap 'rm -rf "$new"' EXIT
# The host's own package sources, so that a mirror needs to be set up once.
mmdebstrap --quiet --variant=essential --include=systemd,systemd-sysv,dbus,udev,kmod \
	--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$new"
chmod 755 "$new"
rm -rf "$new/var/cache/apt" "$new/var/lib/apt/lists"
mv "$new" "$dir"
