#!/bin/sh
# Unpacks systemd-pcrlock and systemd-pcrextend of Debian 13, with the libraries
# that they load, in build/pcrlock: Debian 12 has none. Nothing is installed.
#
# usage: pcrlock.sh [DIR]
set -eu

dir=${1:-$(dirname "$0")/../../build/pcrlock}
[ -e "$dir/usr/lib/systemd/systemd-pcrlock" ] && exit 0

echo "pcrlock.sh: unpacking systemd-pcrlock in $dir" >&2
mkdir -p "$(dirname "$dir")"
new=$(mktemp -d "$dir.XXXXXX")
trap 'rm -rf "$new"' EXIT
# The host's own package sources, so that a mirror needs to be set up once.
mmdebstrap --quiet --variant=extract --include=systemd,libtss2-esys-3.0.2-0t64,libtss2-rc0t64,libtss2-tcti-device0t64 \
	--dpkgopt='path-exclude=/usr/share/*' trixie "$new"
chmod 755 "$new"
rm -rf "$new/var" "$new/usr/share"
mv "$new" "$dir"
