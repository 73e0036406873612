#!/bin/sh
# Makes two editions of a store in build/editions, of Debian's packages: each in a
# store path of its own, and those of one source package in another version in
# the second edition. It takes a minute and is done once.
#
# usage: editions.sh [DIR]
set -eu

dir=${1:-$(dirname "$0")/../../build/editions}
[ -e "$dir/changed" ] && exit 0

# About 450 MB that stay the same.
same="libllvm15 docker.io postgresql-15 git perl-modules-5.36 libperl5.36 libicu72 vim-runtime"
# What is updated: the first of these lists that is to be had in two versions.
updated="libpython3.11-stdlib,libpython3.11-minimal,python3.11-minimal libssl3,openssl libperl5.36,perl-base git vim-runtime"

echo "editions.sh: making two editions of a store in $dir" >&2
mkdir -p "$(dirname "$dir")"
new=$(mktemp -d "$dir.XXXXXX")
trap 'rm -rf "$new"' EXIT
mkdir "$new/debs" "$new/before" "$new/after"
chmod 755 "$new"

versions() { apt-cache madison "$1" | awk -F' *\\| *' '{print $2}' | uniq; }
# unpack PACKAGE VERSION EDITION…: into a store path of its own.
unpack() {
	package=$1 version=$2
	shift 2
	(cd "$new/debs" && apt-get -qq -o APT::Sandbox::User=root download "$package=$version" >/dev/null)
	hash=$(printf '%s %s' "$package" "$version" | sha256sum | head -c 32 | tr e g)
	for edition; do
		path=$new/$edition/$hash-$package-$(printf %s "$version" | tr ':~' '..')
		mkdir "$path"
		dpkg-deb -x "$new"/debs/"${package}"_*.deb "$path"
		rm -rf "$path/usr/share/doc" "$path/usr/share/man"
	done
	rm "$new"/debs/*
}

for list in $updated; do
	first=${list%%,*}
	[ "$(versions "$first" | wc -l)" -ge 2 ] || continue
	# apt-cache has the newest first.
	later=$(versions "$first" | sed -n 1p) earlier=$(versions "$first" | sed -n 2p)
	break
done
if [ -z "${earlier-}" ]; then
	echo "editions.sh: the mirror has no two versions of any of $updated: bookworm-security is missing in /etc/apt" >&2
	exit 1
fi
for package in $(echo "$list" | tr , ' '); do
	unpack "$package" "$earlier" before
	unpack "$package" "$later" after
done
for package in $same; do
	case ,$list, in *",$package,"*) continue ;; esac
	unpack "$package" "$(versions "$package" | sed -n 1p)" before after
done
rmdir "$new/debs"
echo "$list: $earlier to $later" >"$new/changed"
mv "$new" "$dir"
